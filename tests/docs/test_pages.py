"""The pages of README and docs: links, the map of the site, its pictures, and the site itself."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from docs.commands_of_pages import PAGES, ROOT

import helicon

DOCS = ROOT / "docs"
LARGEST_PICTURE = 100_000  # bytes


def anchors(page: Path) -> set[str]:
    """Those of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "benchmarks" / "README.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_links_of_a_page_lead_somewhere(page):
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text("utf-8")):
        target = page.parent / link if link else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target) or link == "", f"{link}#{anchor}"


def pages_of(nav: list | dict | str) -> list[str]:
    """All pages of a part of the site's map."""
    if isinstance(nav, str):
        return [nav]
    return [page for each in (nav.values() if isinstance(nav, dict) else nav) for page in pages_of(each)]


def test_each_page_is_on_the_map_of_the_site_once():
    shown = pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])
    there = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")]
    assert sorted(there) == sorted(page for page in shown if not page.startswith("source/"))
    readme = (ROOT / "README.md").read_text("utf-8")
    assert not [page for page in there if page != "reference/options.md" and f"(docs/{page})" not in readme]


def test_every_name_of_the_library_has_its_reference():
    listed = re.findall(r"^::: helicon\.(\w+)$", (DOCS / "reference" / "api.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(helicon.__all__)


def test_pictures_of_the_explanations_are_drawn(tmp_path):
    runpy.run_path(str(DOCS / "tools" / "draw.py"))["main"](tmp_path)
    for drawn in tmp_path.iterdir():
        assert drawn.read_bytes().startswith(b"\x89PNG")
        assert (DOCS / "images" / drawn.name).is_file()
    assert all(path.stat().st_size < LARGEST_PICTURE for path in (DOCS / "images").iterdir())


def test_the_site_is_built(tmp_path):
    pytest.importorskip("mkdocstrings")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "reference" / "commands" / "index.html").read_text("utf-8")
    assert "--repetition-penalty" in html
    assert "Dilated" in (tmp_path / "source" / "examples" / "own_pattern.py" / "index.html").read_text("utf-8")
    assert "gpt2-tiny" in (tmp_path / "reference" / "presets" / "index.html").read_text("utf-8")
