"""DALL·E's own grid once through: 256 pixels, 8,192 codes, 256 tokens of text, 1,024 of a picture; small networks."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from helicon.bundle.storage import load_bundle
from helicon.demos.shapes import write_folder
from helicon.formats.image import read_image
from helicon.generation.generate import generate
from helicon.generation.request import Request
from helicon.generation.results import write_items
from helicon.training.run import run_lightning
from helicon.training.runs.metrics import read_metrics

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def test_two_steps_of_codec_and_model_then_a_picture_of_256_pixels(tmp_path):
    write_folder(tmp_path / "pictures", 8, seed=1)
    common = [
        "--data.path", str(tmp_path / "pictures"), "--data.cache", str(tmp_path / "cache"), "--runs", str(tmp_path),
        "--samples", "false", "--trainer.accelerator", "cpu", "--trainer.max_steps", "2",
        "--trainer.log_every_n_steps", "1", "--data.batch_size", "2",
    ]  # fmt: skip
    codec = run_lightning(
        "fit", ["--config", "dalle-dvae", "--name", "codec", *common, "--model.width", "64"]
    ).run_folder
    assert np.isfinite(read_metrics(codec)["train/loss"][1]).all()
    small = ["--model.layers", "2", "--model.width", "64", "--model.heads", "2", "--model.pattern", "row,conv:11"]
    run = run_lightning(
        "fit", ["--config", "dalle", "--name", "run", *common, *small, "--data.tokenizer", str(codec)]
    ).run_folder
    metrics = read_metrics(run)
    assert np.isfinite(metrics["train/text"][1]).all()
    assert metrics["train/image"][1] == pytest.approx([log(8192)] * 2, abs=0.2)  # as if all codes were as likely

    bundle = load_bundle(run)
    (layout,) = bundle.schema.layouts
    assert (str(layout), bundle.schema.context) == ("text[256] image[32x32]", 256 + 1024)
    assert (layout.frame.prefix, layout.frame.row) == (257, 32)
    rows = bundle.schema.vocab_slice(layout.target)
    assert rows.stop - rows.start == 8192
    request = Request(conditions={"text": "a large red circle above a small blue square"}, seed=1)
    (item,) = generate(bundle, request)
    assert (item.ids.shape, item.ids.dtype) == ((1024,), np.int64)
    assert len(np.unique(item.ids)) > 100
    assert (item.media.shape, item.media.dtype) == ((256, 256, 3), np.uint8)
    write_items([item], tmp_path / "out", request, str(run), bundle.hash())
    assert np.array_equal(read_image(tmp_path / "out" / "000.png", 256)[0], item.media)
