"""Places that are elsewhere: which they are, the files that a pattern names, and names that are safe on a disk."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from helicon.formats.printable import MAX_QUOTED, printable

FORMS = (
    "https://HOST/train-{000..015}.tar, https://HOST/FOLDER/, s3://BUCKET/FOLDER, gs://BUCKET/FOLDER, hf:USER/DATASET"
)
MAX_FILES = 1_000_000  # of a place: a listing, or a pattern, may be a mistake or a stranger's
MAX_PART_BYTES = 255  # of a file's name, as most file systems accept
HTTP = ("http", "https")
KEY_DIGITS = 20  # hexadecimal, as of the other folders of the cache
# A scheme has two letters or more: `C:` is a drive of Windows
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,12})\.\.(\d{1,12})")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')  # control characters, and what some system does not accept in a name


AnyPlace = str | os.PathLike[str]  # as a user names it
Place = Path | str  # a path, or the text of a place that is elsewhere


class SourceError(ValueError):
    """A place from which no media can be brought; the message is one line."""


class RemoteFile(NamedTuple):
    """File of a place: its URL, and its name below the place, which is safe as a relative path."""

    url: str
    name: str


def is_elsewhere(place: str) -> bool:
    """Return True for a dataset of a hub, and for a URL other than that of a local file; False for a path."""
    return is_rows(place) or scheme_of(place) not in ("", "file")


def is_rows(place: str) -> bool:
    """Return True for a dataset of rows, `hf:USER/DATASET`; False for a URL, `hf://datasets/...`, and for a path."""
    return place.startswith("hf:") and not scheme_of(place)


def scheme_of(place: str) -> str:
    """Return the scheme of a URL, lower case, such as `https`; empty for a path."""
    match = _URL.fullmatch(place)
    return match[1].lower() if match else ""


def as_place(name: AnyPlace) -> Place:
    """Return a place that a user named: as text if it is elsewhere, else a Path, also of a URL `file://`."""
    if not isinstance(name, str) or is_elsewhere(name):
        return name if isinstance(name, str) else Path(name)
    return Path(url2pathname(urlsplit(name).path) if scheme_of(name) == "file" else name)


def key_of(place: str) -> str:
    """Return the name of a place's folder in the cache: KEY_DIGITS hexadecimal digits of a hash."""
    return hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:KEY_DIGITS]


def shown(place: str) -> str:
    """Return a place for messages, without what a URL may have of secrets: user, password and query."""
    if scheme_of(place) not in HTTP:
        return printable(place, MAX_QUOTED)
    head, _, _ = place.partition("?")
    scheme, _, rest = head.partition("://")
    host, slash, path = rest.partition("/")
    return printable(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}", MAX_QUOTED)


def files_named(place: str) -> list[RemoteFile]:
    """List the files that a URL names: one, or several by braces as in webdataset, `{000..015}` or `{a,b}`.

    Args:
        place: URL.

    Returns:
        `RemoteFile`s in order, named by what follows the last slash before any braces; empty for a folder, whose URL
        ends with a slash, or for a server alone.

    Raises:
        SourceError: other braces, more than MAX_FILES files, or a name that is not safe on a disk.
    """
    texts = _BRACES.split(place)  # outside of braces, inside, outside, ...
    parts = [[text] if i % 2 == 0 else _choices(place, text) for i, text in enumerate(texts)]
    if (count := math.prod(map(len, parts))) > MAX_FILES:
        raise SourceError(f"{shown(place)}: {count:,} files, at most {MAX_FILES:,} are accepted")
    folder = texts[0].rpartition("/")[0]
    if len(texts) == 1 and (place.endswith("/") or folder.endswith("/")):
        return []
    files = []
    for url in map("".join, itertools.product(*parts)):
        name = safe_name(url[len(folder) + 1 :], is_http=scheme_of(place) in HTTP)
        if name is None:
            raise SourceError(f"{shown(url)}: a name that is refused, as it may lead elsewhere on a disk")
        files.append(RemoteFile(url, name))
    return files


def _choices(place: str, inside: str) -> list[str]:
    """Return the texts that a pair of braces stands for."""
    if match := _RANGE.fullmatch(inside):
        first, last, width = int(match[1]), int(match[2]), len(match[1]) if match[1].startswith("0") else 0
        if first <= last < first + MAX_FILES:
            return [f"{number:0{width}d}" for number in range(first, last + 1)]
    elif "," in inside:
        return inside.split(",")
    accepted = f"a range such as {{000..015}} of at most {MAX_FILES:,}, or a list such as {{a,b}}"
    raise SourceError(f"{shown(place)}: {{{printable(inside, 40)}}}: {accepted} is accepted")


def safe_name(relative: str, is_http: bool) -> str | None:
    """Return the name of a server's file as a relative path that stays below its folder on any system.

    Args:
        relative: name as the server has it, below the place.
        is_http: it is part of a URL of HTTP: `%20` is a space, and a query is no part of the name.

    Returns:
        Parts of the path with `/` between; None for a name that leads elsewhere, is hidden, empty or too long.
    """
    name = unquote(urlsplit(f"//host/{relative}").path[1:]) if is_http else relative
    parts = name.split("/")
    safe = all(part and not part.startswith(".") and len(part.encode("utf-8", "replace")) <= MAX_PART_BYTES
               and part == part.rstrip(". ") for part in parts)  # fmt: skip
    return name if safe and not _UNSAFE.search(name) and name.isprintable() else None
