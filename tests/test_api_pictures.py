"""The library's calls on captioned pictures: a codec, a model of its codes, a picture for a caption, files."""

from __future__ import annotations

from pathlib import Path

import helicon
from helicon.demos.shapes import write_folder

CODEC = ["--data.size", "32", "--model.factor", "8", "--model.width", "16", "--model.blocks", "0"]
CODEC += ["--model.codes", "16", "--data.batch_size", "8", "--samples", "false"]


def test_from_captioned_pictures_to_a_picture_for_a_caption(tmp_path: Path, monkeypatch, one_thread) -> None:
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    write_folder(tmp_path / "shapes", 24, seed=0)
    kept = {"runs": tmp_path / "runs", "steps": 12}
    codec = helicon.train(tmp_path / "shapes", "image-codec", name="codec", options=CODEC, **kept)
    options = ["--data.tokenizer", str(codec), "--data.batch_size", "4", "--samples", "false"]
    run = helicon.train(tmp_path / "shapes", "text-to-image", size="tiny", name="pictures", options=options, **kept)

    model = helicon.load(run, "cpu")
    assert [str(layout) for layout in model.schema.layouts] == ["text[32] image[4x4]"]
    caption = "a large red circle above a small blue square"
    items = helicon.sample(model, 2, seed=1, text=caption, guidance=2.0, best_of=3)
    assert [item.media.shape for item in items] == [(32, 32, 3)] * 2
    assert (items[0].score or 0) >= (items[1].score or 0)
    assert [path.name for path in helicon.save(items, tmp_path / "out")] == ["000.png", "001.png"]
