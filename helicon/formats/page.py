"""A page of results: one HTML file that opens from disk, without scripts and without a network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape as escape_html
from pathlib import Path, PurePath
from urllib.parse import quote

from helicon.formats.files import write_text
from helicon.formats.printable import printable_text


@dataclass(frozen=True)
class PageItem:
    """One result. audio, image and files are paths relative to the page's folder; text is shown as it is."""

    title: str
    caption: str = ""
    audio: str | os.PathLike[str] | None = None
    image: str | os.PathLike[str] | None = None
    text: str | None = None
    files: Sequence[str | os.PathLike[str]] = ()


_STYLE = """
:root { color-scheme: light dark; --ink: #22262b; --soft: #67707b; --paper: #fbfaf7; --card: #fff; --line: #e3e0d8;
  --accent: #2f6fb7; --code: #f2f0ea }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e4df; --soft: #9aa2ab; --paper: #16181b; --card: #1e2125;
  --line: #33383e; --accent: #7fb2ea; --code: #25292e } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
main { max-width: 66rem; margin: 0 auto; padding: 3rem 1.25rem 4rem }
h1 { font: 600 2.1rem/1.2 Georgia, "Times New Roman", serif; margin: 0 0 .6rem }
h2 { font-size: 1.15rem; margin: 2.8rem 0 1rem; padding-bottom: .4rem; border-bottom: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 0 }
p { margin: .4rem 0; max-width: 46rem; white-space: pre-line }
.intro { color: var(--soft); font-size: 1.05rem }
.items { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)) }
article { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1.1rem; min-width: 0 }
article > * + * { margin-top: .7rem }
.caption, figcaption { color: var(--soft); font-size: .9rem; margin-top: .15rem }
audio { display: block; width: 100% }
img { display: block; max-width: 100%; margin-inline: auto; background: #fff; border-radius: 6px }
figure { margin: 0 0 1.5rem }
figcaption { margin-top: .4rem }
pre { margin: .6rem 0; padding: .75rem .9rem; background: var(--code); border-radius: 6px; overflow-x: auto;
  font: .86rem/1.5 ui-monospace, "SF Mono", Consolas, Menlo, monospace }
.text { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 26rem; overflow-y: auto }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: 2px }
.files a { margin-right: 1rem; font-size: .9rem; overflow-wrap: anywhere }
table { border-collapse: collapse; font-size: .92rem; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere }
th { color: var(--soft); font-weight: 500; width: 14rem }
@media (max-width: 30rem) { main { padding-top: 1.75rem } th { width: 40% } }
"""


def write_page(
    path: str | os.PathLike[str],
    title: str,
    intro: str,
    items: Iterable[PageItem],
    figures: Iterable[tuple[str, str | os.PathLike[str]]] = (),
    settings: Mapping[str, object] | None = None,
    next_steps: Iterable[str] = (),
) -> None:
    """Writes a page to `path`, atomically. Parts that are empty are left out.

    figures: (caption, image path). next_steps: commands, each in a box of its own. Image, audio and file paths are
    relative to the page's folder; ValueError for an absolute one, which would break when the folder moves.
    """
    parts = [f"<h1>{escape(title)}</h1>"]
    if intro:
        parts.append(f'<p class="intro">{escape(intro)}</p>')
    if articles := [_article(item) for item in items]:
        parts.append(_section("Results", f'<div class="items">\n{_lines(articles)}\n</div>'))
    if drawn := [_figure(caption, image) for caption, image in figures]:
        parts.append(_section("Figures", _lines(drawn)))
    if commands := [f"<pre><code>{escape(command)}</code></pre>" for command in next_steps]:
        parts.append(_section("Next steps", _lines(commands)))
    if settings:
        rows = [
            f"<tr><th>{escape(str(name))}</th><td>{escape(str(value))}</td></tr>" for name, value in settings.items()
        ]
        parts.append(_section("Settings", f"<table>\n{_lines(rows)}\n</table>"))
    write_text(path, _DOCUMENT.format(title=escape(title), style=_STYLE, body=_lines(parts)))


_DOCUMENT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def escape(text: str) -> str:
    """HTML of a text, which shows what cannot be seen in it, such as marks of direction, as escapes."""
    return escape_html(printable_text(text))


def _article(item: PageItem) -> str:
    parts = [f"<h3>{escape(item.title)}</h3>"]
    if item.caption:
        parts.append(f'<p class="caption">{escape(item.caption)}</p>')
    if item.image is not None:
        parts.append(_image(item.image, item.title))
    if item.audio is not None:
        parts.append(f'<audio controls preload="metadata" src="{_link(item.audio)}"></audio>')
    if item.text is not None:
        # A browser drops one newline right after <pre>; the one written here keeps those of the text.
        parts.append(f'<pre class="text">\n{escape(item.text)}</pre>')
    if item.files:
        links = [f'<a download href="{_link(file)}">{escape(PurePath(file).name)}</a>' for file in item.files]
        parts.append(f'<p class="files">{" ".join(links)}</p>')
    return f"<article>\n{_lines(parts)}\n</article>"


def _figure(caption: str, image: str | os.PathLike[str]) -> str:
    return f"<figure>{_image(image, caption)}<figcaption>{escape(caption)}</figcaption></figure>"


def _image(image: str | os.PathLike[str], alt: str) -> str:
    return f'<img src="{_link(image)}" alt="{escape(alt)}">'


def _section(heading: str, body: str) -> str:
    return f"<section>\n<h2>{escape(heading)}</h2>\n{body}\n</section>"


def _lines(parts: Sequence[str]) -> str:
    return "\n".join(parts)


def _link(path: str | os.PathLike[str]) -> str:
    """A relative path as a URL. Colons are quoted too, so that no file name reads as a scheme such as `data:`."""
    if Path(path).is_absolute() or os.fspath(path).startswith(("/", "\\")):
        raise ValueError(f"a page links relative paths only, got {os.fspath(path)!r}")
    return quote(PurePath(path).as_posix())
