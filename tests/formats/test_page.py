from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

from helicon.formats.page import PageItem, write_page

EVIL = '<script>alert("1")</script> & more'
FILES = ("samples/ä #1?.wav", "roll 100%.png", "data:x.mid", "loss.png")


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links, self.tags, self.shown = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.shown += data


def page(folder) -> Links:
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    items = [
        PageItem(title=EVIL, caption=EVIL, audio=FILES[0], image=FILES[1], files=(FILES[2],)),
        PageItem(title="poem", text="\n  two <lines>\nof text"),
    ]
    figures, settings = [(EVIL, FILES[3])], {"temperature": 0.9, EVIL: EVIL}
    write_page(folder / "index.html", EVIL, "intro", items, figures, settings, ["helicon generate -o 'a b' && ls"])
    links = Links()
    links.feed((folder / "index.html").read_text(encoding="utf-8"))
    return links


def test_every_link_is_relative_and_leads_to_a_file(tmp_path):
    links = page(tmp_path).links
    assert len(links) == len(FILES)
    for link in links:
        parts = urlsplit(link)
        assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("", "", "", "")
        assert (tmp_path / unquote(parts.path)).is_file()


def test_everything_is_escaped_and_shown(tmp_path):
    links = page(tmp_path)
    assert "script" not in links.tags
    assert {"audio", "img", "pre", "a"} <= set(links.tags)
    for text in (EVIL, "\n  two <lines>\nof text", "helicon generate -o 'a b' && ls", "temperature"):
        assert text in links.shown


def test_nothing_is_fetched_from_elsewhere_and_nothing_runs(tmp_path):
    links = page(tmp_path)
    source = (tmp_path / "index.html").read_text(encoding="utf-8")
    for way in ("http:", "https:", "//", "@import", "url(", "javascript:"):
        assert way not in source
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(links.tags)


def test_what_looks_like_a_template_is_shown_as_it_is(tmp_path):
    tricks = "{{ 7 * 7 }} {% include 'page.css' %} {# gone #}"
    write_page(
        tmp_path / "index.html", tricks, tricks, [PageItem(title=tricks, text=tricks)], settings={tricks: tricks}
    )
    links = Links()
    links.feed((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert links.shown.count(tricks) == 7  # with the title of the window


def test_files_of_an_item_stand_in_one_line(tmp_path):
    """A paragraph shows its line ends."""
    write_page(tmp_path / "index.html", "title", "", [PageItem(title="a", files=("a.mid", "sub/b.json"))])
    links = '<a download href="a.mid">a.mid</a> <a download href="sub/b.json">b.json</a>'
    assert f'<p class="files">{links}</p>' in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_same_page_is_the_same_bytes(tmp_path):
    page(tmp_path)
    first = (tmp_path / "index.html").read_bytes()
    page(tmp_path)
    assert (tmp_path / "index.html").read_bytes() == first


def test_a_page_of_little_has_no_empty_parts(tmp_path):
    write_page(tmp_path / "index.html", "title", "", [])
    assert "<h2>" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_absolute_links_are_refused(tmp_path):
    with pytest.raises(ValueError, match="relative"):
        write_page(tmp_path / "index.html", "title", "", [PageItem(title="a", audio=tmp_path / "a.wav")])
