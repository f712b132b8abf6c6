"""Captions of any kind: bytes that come back or one clear line, and never a part of a file's name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from image_bundles import image_bundle

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import save_bundle
from helicon.cli import main
from helicon.generation.generate import generate
from helicon.generation.prompts import make_prompt
from helicon.generation.request import Request, RequestError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def captioned() -> Bundle:
    return image_bundle("text[40] image[]")


@pytest.fixture(scope="module")
def folder(captioned, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "captioned"
    save_bundle(captioned, path)
    return path


def caption_ids(bundle: Bundle, said: str) -> list[int]:
    """What the model is told when `said` is given."""
    return (
        make_prompt(bundle, bundle.schema.layouts[0], Request(conditions={"text": said}))[0].conditions["text"].tolist()
    )


TEXTS = ["😀 🎹", "שלום עליכם", "a\0b", "../../x", "a/b\\c", "CON", "picture.png", "a.txt", "<b>&amp;</b>"]


@pytest.mark.parametrize("text", TEXTS)
def test_a_caption_comes_back_and_names_no_file(folder, captioned, tmp_path, text):
    assert captioned.sequencer.tokenizers["text"].decode(caption_ids(captioned, text)) == text
    assert main(["generate", str(folder), "--text", text, "-o", str(tmp_path / "out")]) == 0
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "out", "out/000-large.png", "out/000.json", "out/000.png", "out/index.html",
    ]  # fmt: skip
    record = json.loads((tmp_path / "out" / "000.json").read_text(encoding="utf-8"))
    assert record["settings"]["given"] == {"text": text}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x" * 41, r"^--text: 41 tokens, this model takes 40$"),
        ("x" * 1_000_000, r"^--text: 1000000 tokens, this model takes 40$"),
        ("😀" * 11, r"^--text: 44 tokens, this model takes 40$"),
        ("a\udcff", r"^text holds U\+DCFF at character 1, half of a surrogate pair, which UTF-8 cannot hold$"),
    ],
)
def test_a_caption_that_cannot_be_is_one_line(captioned, text, said):
    with pytest.raises(ValueError, match=said):
        generate(captioned, Request(conditions={"text": text}))


def test_a_lone_surrogate_typed_is_one_line(folder, tmp_path, capsys):
    assert main(["generate", str(folder), "--text", "a\udcff", "-o", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        "helicon: text holds U+DCFF at character 1, half of a surrogate pair, which UTF-8 cannot hold\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("said", ["a red circle", " a  red\tcircle ", "a red\n\ncircle\r\n"])
def test_a_caption_typed_is_the_caption_read_from_a_file(captioned, tmp_path, said):
    (tmp_path / "caption.txt").write_bytes(said.encode())
    expected = list(b"a red circle")
    assert caption_ids(captioned, said) == caption_ids(captioned, str(tmp_path / "caption.txt")) == expected


def test_a_long_caption_in_a_file_is_one_line_too(captioned, tmp_path):
    (tmp_path / "long.txt").write_text("word " * 10_000)
    with pytest.raises(RequestError, match=r"^--text: 49999 tokens, this model takes 40$"):
        generate(captioned, Request(conditions={"text": str(tmp_path / "long.txt")}))
    (tmp_path / "no.txt").write_bytes(b"caf\xe9\0")
    with pytest.raises(RequestError, match=r"no\.txt: no text: neither UTF-8 "):
        generate(captioned, Request(conditions={"text": str(tmp_path / "no.txt")}))


def test_the_prompt_of_a_text_keeps_its_newlines(tmp_path):
    bundle = image_bundle("text")
    said = "Once  upon\n\na time \n"
    (item,) = generate(bundle, Request(conditions={"text": said}, tokens=3))
    assert item.media.startswith(said)
    (tmp_path / "start.txt").write_bytes(said.encode())
    file = tmp_path / "start.txt"
    for request in (Request(prime=file, tokens=3), Request(conditions={"text": str(file)}, tokens=3)):
        assert generate(bundle, request)[0].ids.tolist() == item.ids.tolist()
