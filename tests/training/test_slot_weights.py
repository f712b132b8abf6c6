"""The loss of captions and pictures: a weighted sum of mean nats, each over the places that its slot has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from helicon.formats.image import write_image
from helicon.objectives.next_token import slot_nats
from helicon.training.learning.module import GPTModule
from helicon.training.run import run_lightning
from helicon.training.runs.metrics import read_metrics

OPTIONS = [
    "--data.tokenizers={text: bytes, image: palette}", "--data.colours=4", "--data.size=2", "--data.batch_size=4",
    "--data.val_split=0.2", "--model.layers=1", "--model.width=16", "--model.heads=2", "--model.dropout=0",
    "--trainer.accelerator=cpu", "--trainer.max_steps=2", "--trainer.log_every_n_steps=1", "--samples=false",
]  # fmt: skip


@pytest.fixture(scope="module")
def captioned(tmp_path_factory) -> Path:
    """Ten pictures of 2 x 2 pixels with captions of 1 to 5 letters."""
    folder, rng = tmp_path_factory.mktemp("captioned"), np.random.default_rng(0)
    for number in range(10):
        write_image(rng.integers(256, size=(2, 2, 3)).astype(np.uint8), folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("abcde"[: 1 + number % 5])
    return folder


def losses(monkeypatch, captioned: Path, runs: Path, *extra: str) -> list[tuple[int, float, dict[str, float]]]:
    """(layout, loss of a step, nats of each slot over its places), worked out again from the batch."""
    found = []
    step = GPTModule.training_step

    def training_step(self: GPTModule, batch, batch_idx: int) -> torch.Tensor:
        loss = step(self, batch, batch_idx)
        assert self.gpt is not None
        layout, sequencer = self.data.sequencer.schema.layouts[batch.layout], self.data.sequencer
        with torch.no_grad():
            nats = slot_nats(self.gpt, sequencer, batch, [slot.name for slot in layout.slots])
        places = {slot.name: 4 * (slot.length or 0) for slot in layout.slots}  # of a batch of 4
        found.append(
            (batch.layout, float(loss.detach()), {slot: float(nats[slot][0]) / n for slot, n in places.items()})
        )
        return loss

    monkeypatch.setattr(GPTModule, "training_step", training_step)
    where = ["--data.path", str(captioned), "--runs", str(runs), "--name", "run"]
    run_lightning("fit", ["--config", "text-to-image", *where, *OPTIONS, *extra])
    return found


def test_a_picture_weighs_seven_times_its_caption(monkeypatch, captioned, tmp_path):
    found = losses(monkeypatch, captioned, tmp_path, '--data.layouts=["text[6] image[]"]')
    assert len(found) == 2
    for _, loss, means in found:
        assert loss == pytest.approx((means["text"] + 7 * means["image"]) / 8, rel=1e-5)
    logged = read_metrics(tmp_path / "run")
    assert {"train/text", "train/image", "val/text", "val/image"} < logged.keys()
    assert logged["val/loss"][1][-1] == pytest.approx(
        (logged["val/text"][1][-1] + 7 * logged["val/image"][1][-1]) / 8, rel=1e-5
    )


def test_a_condition_is_not_learned_unless_it_has_a_weight(monkeypatch, captioned, tmp_path):
    layouts = '--data.layouts=["text[6] image[]", "image[] text[6]"]'
    found = losses(monkeypatch, captioned, tmp_path, layouts, "--model.slot_weights={}")
    assert [layout for layout, _, _ in found] == [0, 1]
    assert [loss for _, loss, _ in found] == [
        pytest.approx(found[0][2]["image"], rel=1e-5), pytest.approx(found[1][2]["text"], rel=1e-5),
    ]  # fmt: skip
