"""The library's calls on captioned pictures: one call trains a codec and a model of its codes, as the command does."""

from __future__ import annotations

from pathlib import Path

import helicon
from helicon.demos.shapes import write_folder

CODEC = """\
task: codec
model: {factor: 8, width: 16, blocks: 0, codes: 16}
data: {batch_size: 8}
"""
OPTIONS = ["--data.size", "32", "--data.batch_size", "4", "--samples", "false"]


def test_from_captioned_pictures_to_a_picture_for_a_caption(tmp_path: Path, monkeypatch, one_thread) -> None:
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    write_folder(tmp_path / "shapes", 24, seed=0)
    (tmp_path / "codec.yaml").write_text(CODEC)
    (tmp_path / "mine.yaml").write_text(f"codec: {tmp_path / 'codec.yaml'}\nmodel: {{mlp: relu2}}\n")
    run = helicon.train(
        tmp_path / "shapes", "text-to-image", size="tiny", name="pictures", steps=12, runs=tmp_path / "runs",
        config=tmp_path / "mine.yaml", options=OPTIONS,
    )  # fmt: skip
    assert run == tmp_path / "runs" / "pictures"
    assert sorted(path.name for path in run.parent.iterdir()) == ["pictures", "pictures-codec"]

    model = helicon.load(run, "cpu")
    assert model.gpt.config.mlp == "relu2"
    assert [str(layout) for layout in model.schema.layouts] == ["text[32] image[4x4]"]
    caption = "a large red circle above a small blue square"
    items = helicon.sample(model, 2, seed=1, text=caption, guidance=2.0, best_of=3)
    assert [item.media.shape for item in items] == [(32, 32, 3)] * 2
    assert (items[0].score or 0) >= (items[1].score or 0)
    assert [path.name for path in helicon.save(items, tmp_path / "out")] == ["000.png", "001.png"]
