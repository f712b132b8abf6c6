"""Captioned pictures: what is stored, held out, drawn and dropped, and what a bad folder says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.cli import main
from helicon.data.batches import Variation, WindowStream
from helicon.data.entries import DataError
from helicon.data.prepare import prepare
from helicon.data.prepared import Prepared
from helicon.data.source import DataSource
from helicon.evaluation.losses import open_folder
from helicon.formats.image import read_image, write_image
from helicon.formats.image_kinds import DECODERS
from helicon.gpt.model import GPTConfig
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import NO_TARGET, Sequencer
from helicon.tokenizers.text import BytesTokenizer

TOKENIZERS = {"text": "bytes", "image": "rgb"}
PAIR = "text[12] image[]"


def write_pictures(folder: Path, *names: str, size: int = 2) -> Path:
    """Pictures of pixels at random, of `size` pixels each way."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(256, size=(size, size, 3)).astype(np.uint8)
        write_image(pixels, folder / f"{name}.png")
    return folder


def captioned(folder: Path, **captions: str) -> Path:
    """Pictures, and a caption beside each."""
    write_pictures(folder, *captions)
    for name, caption in captions.items():
        (folder / f"{name}.txt").write_text(caption, encoding="utf-8")
    return folder


def prepared(folder: Path, layout: str = PAIR, val_split: float = 0.2, **how) -> Prepared:
    slots = {slot.name for slot in Layout.parse(layout).slots}
    chosen = {slot: name for slot, name in TOKENIZERS.items() if slot in slots}
    cache = folder.parent / "cache"
    return prepare(
        DataSource(
            path=folder,
            layouts=(layout,),
            tokenizers=chosen,
            options={"size": 2},
            val_split=val_split,
            cache=cache,
            **how,
        )
    )


def stream(found: Prepared, **how) -> WindowStream:
    sequencer = Sequencer([Layout.parse(corpus.layout) for corpus in found.corpora], found.tokenizers, 99)
    return WindowStream(found.corpora[0], sequencer, sequencer.schema.layouts[0], 3, 1, Variation(**how))


def fed_caption(found: WindowStream, epoch: int, example: int) -> str:
    (window,) = np.flatnonzero(found.examples == example)  # pictures are whole, a window each
    number = epoch * len(found.examples)
    assert found.batches.epoch_of(number) == epoch
    ids = found.window(number, int(window)).ids[1:13] - found.sequencer.schema.vocabulary.slice("text").start
    return BytesTokenizer().decode(ids[ids < 256])


def test_a_caption_and_the_bytes_of_its_picture(tmp_path):
    folder = captioned(tmp_path / "pairs", a="a  red\ncircle\n", b="dog")
    found = prepared(folder)
    (corpus,) = found.corpora
    assert (corpus.layout, corpus.names) == ("text[12] image[2x2x3]", ["a", "b"])
    assert corpus.example(0)["text"].tolist() == list(b"a red circle")
    assert corpus.example(0)["image"].tolist() == read_image(folder / "a.png")[0].ravel().tolist()


def coco(folder: Path, *captions: tuple[str, str]) -> Path:
    """A manifest of (picture, caption) pairs."""
    names = list(dict.fromkeys(name for name, _ in captions))
    write_pictures(folder, *(name.removesuffix(".png") for name in names))
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    said = [{"id": i, "image_id": names.index(name), "caption": text} for i, (name, text) in enumerate(captions)]
    (folder / "captions.json").write_text(json.dumps({"images": images, "annotations": said}))
    return folder / "captions.json"


def test_every_caption_is_stored_and_one_is_drawn_each_time(tmp_path):
    manifest = coco(tmp_path / "coco", ("a.png", "a cat"), ("a.png", "it  sleeps"), ("b.png", "a dog"))
    found = prepared(tmp_path / "coco", val_split=0.0, manifest=manifest)
    (corpus,) = found.corpora
    a = corpus.names.index("a.png")
    spoken = [BytesTokenizer().decode(corpus.ids["text"][slice(*pair)])
              for pair in zip(corpus.offsets["text"], corpus.offsets["text"][1:])]  # fmt: skip
    assert sorted(spoken) == ["a cat", "a dog", "it sleeps"]
    assert corpus.example(a)["text"].tolist() == list(b"a cat")
    drawn = stream(found, condition_dropout=0.0)
    counts = Counter(fed_caption(drawn, epoch, a) for epoch in range(200))
    assert counts.keys() == {"a cat", "it sleeps"}
    assert 70 < counts["a cat"] < 130
    assert {fed_caption(drawn, epoch, 1 - a) for epoch in range(20)} == {"a dog"}
    assert len({fed_caption(drawn, 5, a) for _ in range(3)}) == 1


def test_captions_longer_than_the_slot_are_cut_and_counted(tmp_path):
    manifest = coco(tmp_path / "coco", ("a.png", "x" * 15), ("a.png", "y" * 14), ("b.png", "short"))
    found = prepared(tmp_path / "coco", manifest=manifest)
    assert found.repaired == {"text tokens cut": 3 + 2}
    assert "5 text tokens cut" in found.summary()
    assert found.corpora[0].lengths("text").tolist() == [12, 5]


def test_a_picture_is_on_the_same_side_alone_and_with_its_caption(tmp_path):
    names = [f"{i:02}" for i in range(40)]
    folder = captioned(tmp_path / "pairs", **{name: f"number {name}" for name in names})
    (folder / "deep").mkdir()
    write_image(np.zeros((2, 2, 3), np.uint8), folder / "deep" / "x.y.png")
    (folder / "deep" / "x.y.txt").write_text("a name with a dot")
    manifest = tmp_path / "list.jsonl"
    rows = [{"file": path.relative_to(folder).as_posix(), "text": "x"} for path in sorted(folder.rglob("*.png"))]
    manifest.write_text("\n".join(map(json.dumps, rows)))
    sides = []
    for found in (prepared(folder), prepared(folder, "image[] text[12]"), prepared(folder, "image[]"),
                  prepared(folder, manifest=manifest)):  # fmt: skip
        (corpus,) = found.corpora
        sides.append({corpus.names[i].removesuffix(".png") for i in corpus.select(val=True)})
    assert 2 < len(sides[0]) < 20
    assert all(side == sides[0] for side in sides)


def test_about_a_tenth_of_the_captions_is_left_out_as_a_whole(tmp_path):
    found = prepared(captioned(tmp_path / "pairs", a="a red circle", b="dog"))
    drawn, again, never = stream(found), stream(found), stream(found, condition_dropout=0.0)
    captions = [fed_caption(drawn, epoch, 0) for epoch in range(1000)]
    assert set(captions) == {"", "a red circle"}
    assert captions.count("") / 1000 == pytest.approx(0.1, abs=0.03)
    assert captions == [fed_caption(again, epoch, 0) for epoch in range(1000)]
    assert {fed_caption(never, epoch, 0) for epoch in range(100)} == {"a red circle"}
    whole, dropped = (drawn.window(len(drawn.examples) * captions.index(said), 0) for said in ("a red circle", ""))
    assert (dropped.targets[:12] == NO_TARGET).all()
    assert (whole.targets[:12] != NO_TARGET).all()
    assert np.array_equal(dropped.targets[12:], whole.targets[12:])
    assert np.array_equal(dropped.ids[13:], whole.ids[13:])


def test_a_folder_is_read_at_the_size_that_the_model_was_made_for(tmp_path, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    found = prepared(captioned(tmp_path / "small", a="cat", b="dog"))
    sequencer = Sequencer([Layout.parse(PAIR)], found.tokenizers, 99)
    bundle = Bundle(
        gpt=make_gpt(GPTConfig(layers=1, width=16, heads=2), sequencer.schema),
        sequencer=sequencer,
        tokenizer_names=TOKENIZERS,
    )
    write_pictures(tmp_path / "large", "c", size=9)
    (tmp_path / "large" / "c.txt").write_text("owl")
    opened, layouts = open_folder(bundle, tmp_path / "large")
    assert list(map(str, layouts)) == ["text[12] image[2x2x3]"]
    small, _ = read_image(tmp_path / "large" / "c.png", size=2)
    assert opened.corpora[0].example(0)["image"].tolist() == small.ravel().tolist()


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = captioned(Path("pairs"), **dict.fromkeys(("a", "b", "c", "cut", "tiff", "zero", "huge"), "x"))
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:50])
    Image.new("RGB", (2, 2)).save(folder / "tiff.png", format="TIFF")
    (folder / "zero.png").write_bytes(b"")
    huge = bytearray((folder / "a.png").read_bytes())
    huge[16:24] = (100_000).to_bytes(4, "big") * 2
    huge[29:33] = crc32(huge[12:29]).to_bytes(4, "big")
    (folder / "huge.png").write_bytes(huge)
    (folder / "lonely.txt").write_text("a caption without its picture")
    write_pictures(folder, "mute")
    chosen = ["--data.tokenizers", json.dumps(TOKENIZERS), "--data.size", "2", "--data.cache", "cache"]
    assert main(["prepare", "--config", "text-to-image", "--data.path", "pairs", *chosen]) == 0
    lines = [line.strip() for line in capsys.readouterr().err.splitlines()]
    assert "files      3 read, 6 skipped" in lines
    skipped = [line.removeprefix("skipped").strip() for line in lines if line.startswith("skipped")]
    kinds = ", ".join(kind for kind in DECODERS if kind != "TIFF")
    assert sorted(skipped) == [
        "pairs/cut.png: a broken PNG file: image file is truncated; 0 of 2 rows are there",
        "pairs/huge.png: 100,000 x 100,000 pixels are more than a picture may have, 64,000,000 in all or 65,535 a side",
        "pairs/lonely.txt: no image file of the same stem",
        "pairs/mute.png: no text file of the same stem",
        f"pairs/tiff.png: a TIFF file named .png: accepted under that name: {kinds}",
        "pairs/zero.png: the file is empty",
    ]


def test_a_folder_of_captions_alone_says_what_would_be_accepted(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a cat")
    accepted = r"texts: no files to train on as pairs of equal stem, .*; accepted suffixes are .*image: .*\.png"
    with pytest.raises(DataError, match=rf"{accepted}.*passed over: .*a\.txt: no image file of the same stem"):
        prepared(tmp_path / "texts")
    with pytest.raises(DataError, match=r"texts: no files to train on; accepted suffixes are image: .*\.png"):
        prepared(tmp_path / "texts", "image[]")
