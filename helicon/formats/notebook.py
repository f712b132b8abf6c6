"""What results show in a notebook: pictures and players with the whole file in them, and tables of figures."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

SHOWN = {".png": "image/png", ".jpg": "image/jpeg", ".wav": "audio/wav", ".flac": "audio/flac"}  # by a browser


def shown_as(path: Path) -> str:
    """`image` or `audio` for a file that a browser shows or plays, else nothing."""
    return SHOWN.get(path.suffix, "").partition("/")[0]


def html_of(paths: Iterable[Path]) -> str:
    """The last picture, the largest that a preview writes, and the first sound; empty where there is neither."""
    found = list(paths)
    pictures = [_tag(each) for each in found if shown_as(each) == "image"]
    sounds = [_tag(each) for each in found if shown_as(each) == "audio"]
    return "<br>".join([*pictures[-1:], *sounds[:1]])


def html_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows below their heads."""
    lines = [_row("th", heads), *(_row("td", row) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def html_figures(figures: Mapping[str, object]) -> str:
    """A row for each name and its value, numbers to four digits."""
    return html_table(("", ""), [(name, plain(value)) for name, value in figures.items()])


def html_lines(lines: Iterable[str]) -> str:
    """Lines as they are printed, their columns below each other."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def plain(value: object) -> object:
    """A number as people read it; whatever else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else value


def _row(cell: str, values: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{cell}>{escape(str(value))}</{cell}>' for value in values)}</tr>"


def _tag(path: Path) -> str:
    """An element that has the whole file in it."""
    kind = SHOWN[path.suffix]
    data = f"data:{kind};base64,{b64encode(path.read_bytes()).decode()}"
    return f'<audio controls src="{data}"></audio>' if shown_as(path) == "audio" else f'<img src="{data}">'
