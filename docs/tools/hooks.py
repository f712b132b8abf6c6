"""MkDocs hooks: pages made from the code, and pages for files of the repository that the docs link to.

- `<!-- made: commands -->` and `<!-- made: presets -->` become tables of what `helicon` has.
- A link that leads out of docs/, such as ../../examples/own_pattern.py, leads to a page with the contents of that file.
"""

from __future__ import annotations

import argparse
import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from helicon.cli.commands import COMMANDS, parser
from helicon.presets import FOLDER, preset

ROOT = Path(__file__).resolve().parents[2]
SOURCES = "source"  # folder of the site for files from outside of docs/
LINK = re.compile(r"(\]\()(?!https?:|mailto:|#)([^)#\s]+)")
LANGUAGES = {".py": "python", ".c": "c", ".yaml": "yaml", ".toml": "toml", ".cff": "yaml", "": "text"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each file outside of docs/ that a page links to, and for those that these link to."""
    pending = [f"docs/{file.src_uri}" for file in files.documentation_pages()] + ["ARCHITECTURE.md", "CONTRIBUTING.md"]
    known: set[str] = set()
    while pending:
        path = pending.pop()
        if path in known or not (ROOT / path).is_file():
            continue
        known.add(path)
        if not _in_site(path):
            files.append(File.generated(config, _source_page(path), content=_as_page(path)))
        if path.endswith(".md"):
            pending += [_resolved(path, link) for _, link in LINK.findall((ROOT / path).read_text("utf-8"))]
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Fills in what is made, and turns links between files of the repository into links between pages."""
    uri = page.file.src_uri
    outside = uri.startswith(f"{SOURCES}/")
    if outside and not (ROOT / uri.removeprefix(f"{SOURCES}/")).is_file():
        return markdown  # a page of code, whose brackets are no links
    path = uri.removeprefix(f"{SOURCES}/") if outside else f"docs/{uri}"
    markdown = LINK.sub(lambda match: match[1] + _site_link(path, uri, match[2]), markdown)
    for name, table in TABLES.items():
        if (mark := f"<!-- made: {name} -->") in markdown:
            markdown = markdown.replace(mark, table())
    return markdown


def _resolved(path: str, link: str) -> str:
    """The file of the repository that a link in the file `path` leads to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _in_site(path: str) -> bool:
    """Whether MkDocs shows a file of the repository by itself."""
    return path.startswith("docs/") and not path.startswith("docs/tools/")


def _source_page(path: str) -> str:
    return f"{SOURCES}/{path}" if path.endswith(".md") else f"{SOURCES}/{path}.md"


def _site_link(path: str, uri: str, link: str) -> str:
    """The link of the page `uri`, which has the contents of the file `path`."""
    target = _resolved(path, link)
    if _in_site(target):
        target = target.removeprefix("docs/")
    elif (ROOT / target).is_file():
        target = _source_page(target)
    return posixpath.relpath(target, posixpath.dirname(uri) or ".")


def _as_page(path: str) -> str:
    """A file as Markdown: pages as they are, the cells of a notebook, anything else as code."""
    text, kind = (ROOT / path).read_text("utf-8"), Path(path).suffix
    if kind == ".md":
        return text
    body = _fenced(text, LANGUAGES.get(kind, "text"))
    if kind == ".ipynb":
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
        body = "\n\n".join(source if kind == "markdown" else _fenced(source, "python") for kind, source in cells)
    return f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n{body}\n"


def _fenced(text: str, language: str) -> str:
    return f"````{language}\n{text.rstrip()}\n````"


def commands() -> str:
    """A section for each command: its line, then a table for each group of options."""
    sections = []
    for name, command in COMMANDS.items():
        found = parser(name)
        words = [_shown(action) for action in found._actions if not action.option_strings]
        sections += [f"## {name}", f"`{' '.join(['helicon', name, *words])}`: {command.summary}."]
        for group in found._action_groups:
            shown = [action for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
            if rows := [_row(found, action) for action in shown if action.help != argparse.SUPPRESS]:
                sections.append("\n".join([f"| {group.title} | |", "|---|---|", *rows]))
    return "\n\n".join(sections)


def _shown(action: argparse.Action) -> str:
    name = str(action.metavar or action.dest)
    return f"{name}..." if action.nargs == "+" else f"[{name}]" if action.nargs == "?" else name


def _row(found: argparse.ArgumentParser, action: argparse.Action) -> str:
    """An option and its help, as a row of a table."""
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    if action.choices and action.option_strings:
        value = f" {'|'.join(map(str, action.choices))}"
    names = ", ".join(action.option_strings) or _shown(action)
    text = found._get_formatter()._expand_help(action) if action.help else ""
    return " | ".join(["", f"`{names}{value if action.option_strings else ''}`".replace("|", r"\|"), text, ""]).strip()


def presets() -> str:
    """Each preset by its first line, with its file to unfold."""
    parts = []
    for path in sorted(FOLDER.glob("*.yaml")):
        lines = path.read_text("utf-8").splitlines()
        what = "task" if "task" in preset(path.stem) else "settings"
        head = lines[0].removeprefix("# ").partition("  ")[0].rstrip(".").replace('"', "'")
        body = "\n".join(f"    {line}".rstrip() for line in ["```yaml", *lines, "```"])
        parts.append(f'??? note "`{path.stem}` ({what}): {head}"\n\n{body}')
    return "\n\n".join(parts)


TABLES = {"commands": commands, "presets": presets}
