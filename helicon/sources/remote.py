"""Bytes of a server by fsspec: a file from any byte on, the listing of a folder, and what an error means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import fsspec
from fsspec.spec import AbstractFileSystem

from helicon.formats.printable import MAX_QUOTED, printable
from helicon.sources.places import FORMS, HTTP, MAX_FILES, RemoteFile, SourceError, safe_name, scheme_of, shown

EXTRAS = {"http": "remote", "https": "remote", "s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}  # scheme -> extra
CONNECT_S, SILENCE_S = 20, 60  # seconds until a server has to answer, and to send more
CHUNK_BYTES = 1 << 20  # read at a time
BLOCK_BYTES = 16 << 20  # of a request to a store of objects
MAX_DEPTH, MAX_FOLDERS = 16, 100_000  # of a listing, which may have no end
BUSY = (408, 425, 429)  # status of HTTP below 500 after which another try may help
RANGE_ENDED = 416  # status: there is no byte from there on
TEXTS = (".txt", ".md", ".lrc", ".csv", ".tsv", ".json", ".jsonl")  # files that some servers call a web page
# Errors after which another try would not help
FINAL = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError, NotImplementedError, ImportError)
STAMPS = ("ETag", "etag", "md5Hash", "LastModified", "Last-Modified", "updated", "mtime", "created")


class Gone(Exception):
    """A file that the server does not give; another try would not help. The message is the reason."""


class Broken(Exception):
    """A transfer that broke off, or a server that does not answer; another try may help. The message is the reason."""


class Changed(Broken):
    """The server has another file by now than the one that was begun."""


def open_server(place: str) -> AbstractFileSystem:
    """Return fsspec's file system of a URL.

    Raises:
        SourceError: an unknown protocol, or one whose package is not installed.
    """
    scheme = scheme_of(place)
    if "::" in place or scheme not in fsspec.available_protocols():
        raise SourceError(f"{shown(place)}: no place that can be read; accepted are {FORMS} and a path")
    options: dict[str, Any] = {}
    try:
        if scheme in HTTP:
            from aiohttp import ClientTimeout

            timeout = ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
            options = {"client_kwargs": {"timeout": timeout, "trust_env": True}, "use_listings_cache": False}
        return fsspec.filesystem(scheme, **options)
    except ImportError as error:
        extra = f'pip install "helicon-gpt[{EXTRAS[scheme]}]"' if scheme in EXTRAS else printable(error, MAX_QUOTED)
        raise SourceError(f"{shown(place)}: {scheme} needs another package: {extra}") from None
    except (OSError, ValueError, TypeError) as error:  # such as a protocol that needs a host
        raise SourceError(f"{shown(place)}: {printable(error, MAX_QUOTED)}") from None


@dataclass(frozen=True)
class Listing:
    """Files below a folder of a server, and how many were left out: reason -> count."""

    files: list[RemoteFile]
    passed: Counter[str] = field(default_factory=Counter)


def list_folder(server: AbstractFileSystem, place: str) -> Listing:
    """List the files of a folder and of those in it.

    Names that lead out of the folder, or that some system does not accept, are left out.

    Args:
        server: `AbstractFileSystem` of the place.
        place: URL of the folder.

    Returns:
        A `Listing`, in order of the names.

    Raises:
        Gone: there is no such folder.
        Broken: the server does not answer.
        SourceError: more than MAX_FILES files or MAX_FOLDERS folders.
    """
    is_http = scheme_of(place) in HTTP
    first = place if is_http else server.unstrip_protocol(str(server._strip_protocol(place)))
    root = first.rstrip("/") + "/"
    files: dict[str, RemoteFile] = {}
    passed: Counter[str] = Counter()
    folders, seen = [(first, 0)], {root}
    while folders:
        folder, depth = folders.pop()
        with explaining():
            entries = server.ls(folder if is_http else folder.rstrip("/"), detail=True)
        for entry in entries:
            url = entry["name"] if is_http else server.unstrip_protocol(entry["name"])
            if is_http and (urlsplit(url).query or urlsplit(url).fragment):
                continue  # links that sort a listing
            is_folder = entry["type"] == "directory"
            name = safe_name(url[len(root) :].rstrip("/"), is_http) if url.startswith(root) else None
            if url.rstrip("/") + "/" in seen:
                continue
            if name is None:
                passed["of names that lead out of the folder, or are hidden"] += 1
            elif not is_folder:
                files[name] = RemoteFile(url, name)
            elif depth < MAX_DEPTH:
                seen.add(url.rstrip("/") + "/")
                folders.append((url.rstrip("/") + "/", depth + 1))
            if len(files) > MAX_FILES or len(seen) > MAX_FOLDERS:
                most = f"{MAX_FILES:,} files and {MAX_FOLDERS:,} folders"
                raise SourceError(f"{shown(place)}: more than {most}; name a part of it")
    return Listing([files[name] for name in sorted(files)], passed)


class Reading:
    """File of a server, open for reading from a byte on.

    Args:
        server: `AbstractFileSystem` of the file.
        url: of the file.
        start: number of the first byte that is wanted.

    Attributes:
        first: number of the first byte that is read: 0 where the server cannot begin elsewhere.
        size: bytes of the whole file; None if the server does not say.
        stamp: values that change with the content, as far as the server gives any.

    Raises:
        Gone: there is no such file.
        Broken: the server does not answer.
    """

    def __init__(self, server: AbstractFileSystem, url: str, start: int = 0) -> None:
        with explaining():
            if scheme_of(url) in HTTP:
                self._open_http(server, url, start)
            else:
                info = server.info(url)
                self.first, self.size, self.stamp = start, info.get("size"), stamp_of(info, info.get("size"))
                self._file = server.open(url, "rb", block_size=BLOCK_BYTES)
                self._file.seek(start)

    def _open_http(self, server: AbstractFileSystem, url: str, start: int) -> None:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        # A stream, in one request; with any size, so that fsspec sends none to learn it
        self._file: Any = server.open(url, "rb", block_size=0, size=1, headers=headers)
        reply = self._file.r
        self.first = start if reply.status == 206 else 0
        length = reply.content_length if reply.headers.get("Content-Encoding", "identity") == "identity" else None
        self.size = None if length is None else self.first + length
        self.stamp = stamp_of(reply.headers, self.size)
        if reply.content_type == "text/html" and not urlsplit(url).path.lower().endswith(TEXTS):
            self.close()
            raise Gone("a web page instead of the file")

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes up to the end, some at a time; Broken where they break off."""
        while True:
            with explaining():
                data = self._file.read(CHUNK_BYTES)
            if not data:
                return
            yield data

    def close(self) -> None:
        """End the transfer."""
        self._file.close()


def stamp_of(info: Mapping[str, Any], size: int | None) -> dict[str, Any]:
    """Return what a server says of a file that changes with its content.

    Args:
        info: name -> value; of a reply of HTTP, its headers.
        size: of the file in bytes; None if the server does not say.

    Returns:
        `size`, and those of STAMPS that there are, as texts.
    """
    return {"size": size, **{name: str(info[name]) for name in STAMPS if info.get(name) is not None}}


@contextmanager
def explaining() -> Iterator[None]:
    """Turn any error of a server, or of its library, into Gone or Broken with a reason of one line."""
    try:
        yield
    except (Gone, Broken, SourceError):
        raise
    except Exception as error:  # libraries of stores raise whatever they like
        cause = error.__cause__ if isinstance(error, FileNotFoundError) and _of_http(error.__cause__) else error
        assert isinstance(cause, Exception)
        if _status(cause) == RANGE_ENDED:
            raise Changed("shorter than before") from error
        raise (Broken if _may_help(cause) else Gone)(_reason(cause)) from error


def _may_help(error: Exception) -> bool:
    """Return True where another try may help."""
    if status := _status(error):
        return status >= 500 or status in BUSY
    return not isinstance(error, FINAL) and (isinstance(error, OSError) or not isinstance(error, ValueError))


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "not found"
    if isinstance(error, TimeoutError):
        return f"no answer within {SILENCE_S} s"
    status = _status(error)
    text = f"{status} {error.message}" if status else str(error) or type(error).__name__  # type: ignore[attr-defined]
    return printable(" ".join(text.split()), MAX_QUOTED)


def _status(error: Exception) -> int:
    """Return the status of a reply of HTTP; 0 for other errors."""
    if not _of_http(error):
        return 0
    from aiohttp import ClientResponseError

    return error.status if isinstance(error, ClientResponseError) else 0


def _of_http(error: BaseException | None) -> bool:
    try:
        from aiohttp import ClientError
    except ImportError:
        return False
    return isinstance(error, ClientError | TimeoutError)
