"""Result page: one HTML file that opens from disk, without scripts and without network access.

The HTML is in `templates/page.html`, its style in `templates/page.css`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from helicon.formats.files import write_text
from helicon.formats.printable import printable_text


@dataclass(frozen=True, kw_only=True)
class PageItem:
    """A result on a page.

    Attributes:
        title: heading.
        caption: line below the heading.
        audio: path of a sound relative to the page's folder.
        image: path of a picture relative to the page's folder.
        text: text shown verbatim.
        files: paths of files to link, relative to the page's folder.
    """

    title: str
    caption: str = ""
    audio: str | os.PathLike[str] | None = None
    image: str | os.PathLike[str] | None = None
    text: str | None = None
    files: Sequence[str | os.PathLike[str]] = ()


def write_page(
    path: str | os.PathLike[str],
    title: str,
    intro: str,
    items: Iterable[PageItem],
    figures: Iterable[tuple[str, str | os.PathLike[str]]] = (),
    settings: Mapping[str, object] | None = None,
    next_steps: Iterable[str] = (),
) -> None:
    """Write a result page, atomically; empty sections are left out.

    Args:
        path: path of the HTML file.
        title: heading of the page.
        intro: a paragraph below it, whose line ends are kept.
        items: `PageItem`s, results in a grid.
        figures: (caption, path of a picture relative to the page's folder).
        settings: rows of a table, name -> value.
        next_steps: command lines, each in a box.

    Raises:
        ValueError: an image, audio or file path is not relative to the page's folder, and would break when the folder
            moves.
    """
    page = _ENVIRONMENT.get_template("page.html").render(
        title=title, intro=intro, items=list(items), figures=list(figures), settings=settings or {},
        next_steps=list(next_steps),
    )  # fmt: skip
    write_text(path, page)


def _visible(value: object) -> object:
    """Escape invisible characters, such as direction marks, in text; return our own HTML unchanged."""
    return value if isinstance(value, Markup) else printable_text(str(value))


def _link(path: str | os.PathLike[str]) -> str:
    """Quote a relative path as a URL; colons too, so that no file name reads as a scheme such as `data:`."""
    if Path(path).is_absolute() or os.fspath(path).startswith(("/", "\\")):
        raise ValueError(f"a page links relative paths only, got {os.fspath(path)!r}")
    return quote(PurePath(path).as_posix())


def _file_name(path: str | os.PathLike[str]) -> str:
    return PurePath(path).name


_ENVIRONMENT = Environment(
    loader=PackageLoader("helicon.formats"), autoescape=True, undefined=StrictUndefined, finalize=_visible,
    trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
)  # fmt: skip
_ENVIRONMENT.filters |= {"link": _link, "file_name": _file_name}
