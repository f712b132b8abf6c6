"""What the page of a training asks for: conditions of held-out examples, which the model can be given again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from image_bundles import image_bundle, write_picture

from helicon.bundle.bundle import Bundle
from helicon.data.prepare import prepare
from helicon.data.prepared import Prepared
from helicon.data.source import DataSource
from helicon.formats.image import read_image
from helicon.generation.prompts import make_prompt
from helicon.modalities import registry
from helicon.pages.model_page import make_items, requests

pytestmark = pytest.mark.usefixtures("one_thread")


def prepared(bundle: Bundle, folder: Path, *captions: str, labels: Sequence[str] = ("",)) -> Prepared:
    """Pictures with these captions, as the bundle reads them; each in the folder of a label, which take turns."""
    for number, caption in enumerate(captions):
        path = folder / labels[number % len(labels)] / f"{number}.png"
        write_picture(path, number)
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    layouts = tuple(map(str, bundle.schema.layouts))
    source = DataSource(
        path=folder,
        layouts=layouts,
        tokenizers=bundle.tokenizer_names,
        options={"size": 4},
        val_split=0.5,
        cache=folder.parent / "cache",
        grow=False,
    )
    return prepare(source, bundle.sequencer.tokenizers)


def test_captions_are_typed_and_pictures_written(tmp_path):
    bundle = image_bundle("text[4] image[]", "image[] text[4]")
    found = prepared(bundle, tmp_path / "data", *("a b", "dog", "owl", "cat", "bee", "ant"))
    asked = requests(bundle, found, tmp_path / "out")
    held = [found.corpora[0].names[i] for i in found.corpora[0].select(val=True)][:2]
    captions = [(tmp_path / "data" / f"{name}.txt").read_text() for name in held]
    assert [(each.request.to, each.request.conditions, each.title) for each in asked[:2]] == [
        ("image", {"text": caption}, caption) for caption in captions
    ]
    shown = [tmp_path / "out" / "generated" / "text" / "given" / f"{i}-image.png" for i in (0, 1)]
    assert [each.request.conditions for each in asked[2:]] == [{"image": str(path)} for path in shown]
    pixels = [read_image(path)[0].tolist() for path in shown]
    assert pixels == [read_image(tmp_path / "data" / f"{name}.png")[0].tolist() for name in held]
    items = make_items(bundle, asked, tmp_path / "out", "model")
    assert [item.title for item in items] == [*captions, "0-image.png", "1-image.png"]
    assert all((tmp_path / "out" / file).is_file() for item in items for file in item.files)


def test_media_that_make_no_folders_are_written_as_conditions(tmp_path, monkeypatch):
    bundle = image_bundle("image[] text[4]")
    found = prepared(bundle, tmp_path / "data", *("a b", "dog", "owl", "cat", "bee", "ant"))
    plain = replace(registry.get("image"), write=lambda media, path: path.write_bytes(media.tobytes()))
    monkeypatch.setattr(registry, "for_slot", lambda slot, beside=(): plain)
    paths = [Path(each.request.conditions["image"]) for each in requests(bundle, found, tmp_path / "out")]
    assert paths
    assert all(path.is_file() for path in paths)


def test_a_caption_that_was_cut_within_a_character_is_passed_over(tmp_path):
    bundle = image_bundle("text[4] image[]")
    found = prepared(bundle, tmp_path / "data", *["abc😀"] * 4, "owl", "cat")
    asked = requests(bundle, found, tmp_path / "out")
    assert {each.request.conditions["text"] for each in asked} <= {"owl", "cat"}
    assert len(make_items(bundle, asked, tmp_path / "out", "model")) >= 1


def test_labels_are_asked_for_that_the_model_knows(tmp_path):
    """Each of them, however few pieces are held out; none that it has no word for."""
    bundle = image_bundle("style[1] image[]")
    data = tmp_path / "data"
    found = prepared(bundle, data, *["a"] * 8, labels=["cat", "owl", "yak", ""])
    assert found.notes == []
    assert "no file has a label for the style" in prepared(bundle, tmp_path / "flat", "a").notes[0]
    (corpus,) = found.corpora
    assert bundle.sequencer.tokenizers["style"].labels == ("cat", "owl")
    asked = requests(bundle, found, tmp_path / "out")
    given = [each.request.conditions["style"] for each in asked]
    assert {*given} == {"cat", "owl"}
    assert [each.title for each in asked] == given
    assert len(make_items(bundle, asked, tmp_path / "out", "model")) == len(asked) == 4
    assert {each.request.seed for each in asked} == {0, 1, 2, 3}
    for i in range(len(corpus)):
        corpus.labels[i] = None
    assert [each.request.conditions for each in requests(bundle, found, tmp_path / "out")] == [{}]


def test_a_caption_that_is_the_name_of_a_file_is_words(tmp_path, monkeypatch):
    """A stranger's caption may name a file of the user's, which is not the stranger's to have read."""
    monkeypatch.chdir(tmp_path)
    Path("a.md").write_text("xyz")
    bundle = image_bundle("text[4] image[]")
    asked = requests(bundle, prepared(bundle, tmp_path / "data", *["a.md"] * 6), tmp_path / "out")
    ids = [make_prompt(bundle, bundle.schema.layouts[0], each.request)[0].conditions["text"] for each in asked]
    assert {bundle.sequencer.tokenizers["text"].decode(each) for each in ids} == {"a.md"}
