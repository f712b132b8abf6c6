"""`helicon train text-to-image` in miniature: a codec, then the model of its codes; each stage can be gone on with."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import yaml

from helicon.bundle.storage import load_bundle
from helicon.cli import main
from helicon.formats.image import write_image
from helicon.pages import model_page
from helicon.training.learning.base import RunModule
from helicon.training.runs.metrics import read_metrics
from helicon.vqvae.storage import load_codec

pytestmark = pytest.mark.usefixtures("one_thread")

CODEC = "task: codec\nmodel: {factor: 4, width: 8, blocks: 0, codes: 8, code_width: 4}\ndata: {batch_size: 8}\n"
OPTIONS = ["--codec", "codec.yaml", "--data.size=8", "--data.val_split", "0.2", "--minutes", "0.05"]
OPTIONS += ["--data.tokenizers", "{text: bytes}", "--data.layouts", '["text[8] image[]"]', "--data.batch_size", "4"]
OPTIONS += ["--model.layers", "1", "--model.width", "16", "--model.heads", "2", "--trainer.max_steps", "6"]
OPTIONS += ["--samples", "false"]


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen captioned pictures, a cache of one's own, and a folder to work in."""
    monkeypatch.setattr(model_page, "ITEMS", 2)
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for number in range(16):
        colour = rng.integers(256, size=3).astype(np.uint8)
        write_image(np.broadcast_to(colour, (12, 12, 3)).copy(), tmp_path / "pictures" / f"{number:02}.png")
        (tmp_path / "pictures" / f"{number:02}.txt").write_text(f"no. {number}")
    (tmp_path / "codec.yaml").write_text(CODEC)


def check_model(run: Path, codec: Path) -> None:
    """The model carries the codec, and was trained with the options that are its own."""
    bundle, trained = load_bundle(run), load_codec(codec)
    tokenizer = bundle.sequencer.tokenizers["image"]
    assert (trained.reading["size"], trained.codec.codebook_size, trained.codec.config.factor) == (8, 8, 4)
    assert tokenizer.describe()["codec"] == trained.fingerprint()
    assert list(map(str, bundle.schema.layouts)) == ["text[8] image[2x2]"]
    assert (bundle.gpt.config.layers, bundle.gpt.config.width, bundle.tokenizer_names["text"]) == (1, 16, "bytes")
    assert read_metrics(run)["train/image"][0][-1] <= 5
    assert bundle.notes["run"] == run.name
    page = (run / "index.html").read_text()
    assert "-large.png" in page
    assert "no. " in page  # captions of held-out pictures


def test_both_stages(tmp_path, capsys):
    """Also with a list of the user's own loggers, which is of both, and of callbacks, which is the model's."""
    own = ["--trainer.logger+=CSVLogger", "--trainer.logger.save_dir=logs", "--trainer.callbacks+=LearningRateMonitor"]
    assert main(["train", "text-to-image", "pictures", "--name", "mine", *OPTIONS, *own]) == 0
    codec, model = sorted((tmp_path / "logs" / "lightning_logs").glob("version_*/metrics.csv"))
    assert "train/image" in model.read_text()
    assert "train/image" not in codec.read_text()
    assert "LearningRateMonitor" in (tmp_path / "runs" / "mine" / "config.yaml").read_text()
    said = capsys.readouterr().err
    for words in (
        "stages     codec in 1 s, then text-to-image in 2 s",
        "once more: helicon fit --config runs/mine-codec/config.yaml",
        "helicon reconstruct runs/mine-codec",
        "16 read, 0 skipped",
        "once more: helicon fit --config runs/mine/config.yaml",
        '"image": "runs/mine-codec"',
        "helicon generate runs/mine -n 4",
    ):
        assert words in said
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["mine", "mine-codec"]
    assert (tmp_path / "runs" / "mine-codec" / "index.html").is_file()
    assert "next stage helicon train text-to-image pictures" in said
    check_model(tmp_path / "runs" / "mine", tmp_path / "runs" / "mine-codec")
    assert main(["generate", "runs/mine", "--text", "no. 3", "-n", "2", "--best-of", "3", "-o", "out"]) == 0
    assert (tmp_path / "out" / "sheet.png").is_file()


def test_a_codec_that_was_stopped_goes_on_and_the_model_follows(tmp_path, monkeypatch, capsys):
    begin = RunModule.on_train_batch_start

    def stop_at_2(self: RunModule, batch, batch_idx: int) -> None:
        if self.global_step == 2:
            signal.raise_signal(signal.SIGTERM)
        begin(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(RunModule, "on_train_batch_start", stop_at_2)
        assert main(["train", "text-to-image", "pictures", *OPTIONS]) == 143
    codec = tmp_path / "runs" / "text-to-image-1-codec"
    assert "helicon train --resume runs/text-to-image-1-codec" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "text-to-image-1").exists()
    after = yaml.safe_load((codec / "config.yaml").read_text())["next"]
    assert (after["task"], after["path"]) == ("text-to-image", "pictures")
    assert after["overrides"]["data"]["tokenizers"] == {"text": "bytes", "image": "runs/text-to-image-1-codec"}
    assert not {"codec", "size"} & {*after["overrides"], *after["overrides"]["data"]}

    assert main(["train", "text-to-image", "pictures", "--name", "text-to-image-1", *OPTIONS]) == 1
    assert "has something in it; choose another --name" in capsys.readouterr().err

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["train", "--resume", "../runs/text-to-image-1-codec"]) == 0
    assert f"next stage helicon train text-to-image {tmp_path}/pictures" in capsys.readouterr().err
    check_model(tmp_path / "runs" / "text-to-image-1", codec)


@pytest.mark.parametrize(
    ("args", "said", "status"),
    [
        (["--model.laters", "3"], "unknown option '--model.laters'; nearest: --model.layers", 2),
        (["--size", "smal"], "unknown size 'smal'; nearest: small", 1),
        (["--codec", "image-codek"], "'image-codek'; nearest: image-codec", 1),
        (["--ckpt_path", "nowhere.ckpt"], "--ckpt_path would have no effect in train", 2),
        (["--trainer.logger=CometLogger"], "comet", 2),
        (["--data.size", "10"], "--data.size 10 is not a multiple of --model.factor 4", 1),
    ],
)
def test_what_is_wrong_with_either_stage_is_told_before_the_first(tmp_path, capsys, args, said, status):
    assert main(["train", "text-to-image", "pictures", *OPTIONS, *args]) == status
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "runs").exists()
