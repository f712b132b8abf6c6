"""A codec on the command line: trained, looked at, and used by a model of pictures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_lines import error_of
from tiny_bundles import text_bundle

from helicon.bundle.storage import load_bundle, save_bundle
from helicon.cli import main
from helicon.formats.image import read_image, write_image
from helicon.tokenizers.codes import CodesTokenizer
from helicon.training.runs.metrics import read_metrics
from helicon.vqvae.storage import load_codec

TINY = [
    "--model.width", "16", "--model.blocks", "1", "--model.codes", "16", "--data.size", "16", "--data.batch_size", "8",
    "--data.val_split", "0.2", "--trainer.accelerator", "cpu", "--trainer.max_steps", "12",
    "--trainer.val_check_interval", "6", "--trainer.log_every_n_steps", "1",
]  # fmt: skip
GPT = [
    "--model.layers", "1", "--model.width", "16", "--model.heads", "1", "--data.batch_size", "4",
    "--trainer.accelerator", "cpu", "--trainer.max_steps", "2", "--samples", "false",
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Iterator[Path]:
    """A folder to work in, with sixteen pictures in tiles of 4 x 4 pixels; caches are there, too."""
    folder, rng = tmp_path_factory.mktemp("home"), np.random.default_rng(0)
    for number in range(16):
        tiles = rng.integers(2, size=(4, 4, 3)).astype(np.uint8) * 200 + 20
        write_image(tiles.repeat(4, 0).repeat(4, 1), folder / "pictures" / f"{number}.png")
    (folder / "pictures" / "broken.png").write_bytes(b"no picture")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELICON_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def run(home: Path) -> Path:
    """A codec of a few steps, as `helicon train` leaves it."""
    assert main(["train", "image-codec", "pictures", "--name", "codec", "--minutes", "1", *TINY]) == 0
    return home / "runs" / "codec"


@pytest.fixture(scope="module")
def model(run: Path, home: Path) -> Path:
    """A model of pictures made of its codes."""
    words = ["--data.path", "pictures", "--name", "model", "--data.tokenizer", "runs/codec", *GPT]
    assert main(["fit", "--config", "image", *words]) == 0
    return home / "runs" / "model"


def test_a_codec_is_trained_and_shown(run: Path) -> None:
    page = (run / "index.html").read_text(encoding="utf-8")
    assert "reconstructions.png" in page
    assert "helicon reconstruct" in page
    assert "--data.tokenizer" in page
    for name in ("reconstructions.png", "psnr.png", "codes.png"):
        read_image(run / name)
    figures = read_metrics(run)
    assert f"PSNR {figures['val/psnr'][1][-1]:.2f} dB" in page
    assert load_codec(run).fingerprint() in page
    assert list((run / "samples").glob("*-reconstructions.png"))


def test_training_says_what_it_does(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--name", "told", "--trainer.max_steps", "1", "--model.quantizer", "fsq", "--model.levels", "[4,2]"]
    assert main(["train", "image-codec", "pictures", "--minutes", "1", *TINY, *words]) == 0
    said = capsys.readouterr().err
    words = ["16 x 16 pixels to 4 x 4 of 8 codes", "helicon fit --config runs/told/config.yaml", "helicon reconstruct"]
    for word in ("PSNR", *words, "told/index.html"):
        assert word in said


def test_pictures_through_a_codec_and_a_bad_one(run: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, odd = "pictures/3.png", home / "wide.png"
    write_image(np.full((20, 40, 3), 220, np.uint8), odd)
    args = ["reconstruct", str(run), good, "pictures/broken.png", str(odd), "nowhere.png", "-o", "out/deeper"]
    assert main(args) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("helicon: pictures/broken.png: ")
    assert said[1] == "helicon: nowhere.png: No such file or directory"
    assert said[-1].startswith("wrote 2 to out/deeper")

    out = home / "out" / "deeper"
    names = ["000-3.png", "001-wide.png"]
    assert sorted(path.name for path in out.iterdir()) == [*names, "before-and-after.png", "reconstruct.json"]
    report = json.loads((out / "reconstruct.json").read_text())["pictures"]
    for entry, name, source in zip(report, names, (good, odd)):
        before, after = read_image(Path(source), 16)[0], read_image(out / name)[0]
        assert after.shape == (16, 16, 3)
        error = np.mean((before.astype(float) - after) ** 2)
        assert entry["psnr"] == pytest.approx(10 * np.log10(255**2 / error))
        assert (entry["file"], entry["written"], entry["codes"]) == (str(source), name, 16)
    sheet = read_image(out / "before-and-after.png")[0]
    assert np.array_equal(sheet[:96, :96], read_image(Path(good))[0].repeat(6, 0).repeat(6, 1))  # before, enlarged


def test_what_cannot_be_reconstructed(run: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconstruct", str(run), "pictures/broken.png"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "helicon: none of the pictures could be read"
    (home / "a-file").write_text("")
    assert "--level: a codec of pictures" in error_of(capsys, 2, "reconstruct", run, "pictures/3.png", "--level", "0")
    assert "a-file: is a file" in error_of(capsys, 2, "reconstruct", run, "pictures/3.png", "-o", "a-file")
    assert "nowhere: no such run or bundle" in error_of(capsys, 1, "reconstruct", "nowhere", "pictures/3.png")
    save_bundle(text_bundle(), home / "text")
    assert "a model without pictures" in error_of(capsys, 2, "reconstruct", "text", "pictures/3.png")
    assert "unknown argument '--ot'; nearest: --out" in error_of(capsys, 2, "reconstruct", run, "a.png", "--ot", "b")


def test_a_model_carries_its_codec(model: Path, run: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = load_bundle(model).sequencer.tokenizers["image"]
    assert isinstance(tokenizer, CodesTokenizer)
    assert tokenizer.describe()["codec"] == load_codec(run).fingerprint()
    assert [str(layout) for layout in load_bundle(model).schema.layouts] == ["image[4x4]"]
    shutil.move(run, home / "elsewhere")
    try:
        assert main(["generate", str(model), "-n", "2", "--seed", "1", "-o", "made"]) == 0
        assert read_image(home / "made" / "001.png")[0].shape == (16, 16, 3)
        for source in (model, home / "elsewhere"):
            assert main(["reconstruct", str(source), "pictures/3.png", "-o", f"by-{source.name}"]) == 0
    finally:
        shutil.move(home / "elsewhere", run)
    one, other = (read_image(home / f"by-{name}" / "000-3.png")[0] for name in ("model", "elsewhere"))
    assert np.array_equal(one, other)


def test_another_codecs_weights_are_refused(
    model: Path, run: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data.path", "pictures", "--name", "other", "--data.seed", "1", *TINY]
    assert main(["fit", "--config", "image-codec", *words]) == 0
    other, copy = home / "runs" / "other", home / "swapped"
    shutil.copytree(model / "model", copy)
    shutil.copy(other / "model" / "codec.safetensors", copy / "image-codec.safetensors")
    found, trained = load_codec(other).fingerprint(), load_codec(run).fingerprint()
    for command in (["info", copy], ["generate", copy, "-o", "never"], ["reconstruct", copy, "pictures/3.png"]):
        line = error_of(capsys, 1, *command)
        assert f"the codec has the fingerprint {found}, {trained} was trained with" in line
        assert str(copy / "bundle.json") in line
    (copy / "image-codec.safetensors").unlink()
    assert "the weights of the codec are missing" in error_of(capsys, 1, "info", copy)
    assert not (home / "never").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.tokenizer", "palete"], "--data.tokenizer palete: no run of a codec; there are codes, palette, rgb"),
        (["--data.tokenizer", "pictures"], "--data.tokenizer pictures: no run of a codec"),
        (["--data.tokenizer", "codes"], "codes need a codec: train one with `helicon train image-codec DIR`"),
        (["--data.tokenizer", "runs/codec", "--data.size", "32"], "--data.size 32: the tokenizer of image was made"),
    ],
)
def test_tokenizers_that_are_no_codec_are_one_line(
    run: Path, home: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    capsys.readouterr()
    assert main(["fit", "--config", "image", "--data.path", "pictures", "--name", "wrong", *GPT, *options]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("helicon: ")
    assert message in line
    assert not (home / "runs" / "wrong").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--size", "small"], "a codec has neither --size nor --from"),
        (["--data.size", "18"], "--data.size 18 is not a multiple of --model.factor 4"),
        (["--minutes", "0"], "minutes 0.0: a number from"),
        (["--model.quantiser", "ema"], "nearest: --model.quantizer"),
    ],
)
def test_what_a_codec_cannot_be_is_one_line(
    home: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    capsys.readouterr()
    assert main(["train", "image-codec", "pictures", "--name", "wrong", *options]) in (1, 2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert message in lines[0]
    assert not (home / "runs" / "wrong").exists()
