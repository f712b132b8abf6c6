"""HTML of results in notebooks: pictures and audio players with the file embedded, and tables of figures."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

SHOWN = {".png": "image/png", ".jpg": "image/jpeg", ".wav": "audio/wav", ".flac": "audio/flac"}  # by a browser


def shown_as(path: Path) -> str:
    """Return, by the suffix of a path, `image` or `audio` for a file that a browser shows or plays, else ''."""
    return SHOWN.get(path.suffix, "").partition("/")[0]


def html_of(paths: Iterable[Path]) -> str:
    """Return HTML of the last picture (the largest of a preview) and the first sound of paths, with the files embedded.

    The text is empty where there is neither.
    """
    files = list(paths)
    pictures = [_tag(path) for path in files if shown_as(path) == "image"]
    sounds = [_tag(path) for path in files if shown_as(path) == "audio"]
    return "<br>".join([*pictures[-1:], *sounds[:1]])


def html_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format an HTML table.

    Args:
        heads: titles of the columns, as text.
        rows: cells of each row, shown by `str`.

    Returns:
        A `<table>` element as text.
    """
    lines = [_row("th", heads), *(_row("td", row) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def html_figures(figures: Mapping[str, object]) -> str:
    """Format a table of names and values as an HTML `<table>`, numbers to four digits."""
    return html_table(("", ""), [(name, plain(value)) for name, value in figures.items()])


class Figures(dict[str, Any]):
    """Dict of names and values, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return html_figures(self)


def html_lines(lines: Iterable[str]) -> str:
    """Format printed lines as preformatted HTML text, so that columns stay aligned."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


def plain(value: object) -> object:
    """Round a float to four significant digits; return other values unchanged."""
    return f"{value:.4g}" if isinstance(value, float) else value


def _row(cell: str, values: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{cell}>{escape(str(value))}</{cell}>' for value in values)}</tr>"


def _tag(path: Path) -> str:
    """Return an element with the file embedded as a data URL."""
    kind = SHOWN[path.suffix]
    data = f"data:{kind};base64,{b64encode(path.read_bytes()).decode()}"
    return f'<audio controls src="{data}"></audio>' if shown_as(path) == "audio" else f'<img src="{data}">'
