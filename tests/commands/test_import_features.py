"""`import`, `export` and `features` as they are typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from command_lines import error_of
from tiny_bundles import text_bundle

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.storage import load_bundle, save_bundle
from helicon.cli import main
from helicon.formats.image import write_image
from helicon.gpt.model import GPTConfig
from helicon.sequence.layout import Layout
from helicon.tokenizers.palette import PaletteTokenizer
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.text import BytesTokenizer

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"vocab_size": 40, "n_positions": 32, "n_embd": 16, "n_layer": 1, "n_head": 2, "eos_token_id": 39}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A folder as transformers writes it."""
    transformers = pytest.importorskip("transformers")
    transformers.GPT2LMHeadModel(transformers.GPT2Config(**SMALL)).save_pretrained(tmp_path / "theirs")
    return tmp_path / "theirs"


def picture_bundle() -> Bundle:
    """For pictures of 4 x 4 greys with a caption, and captions of pictures."""
    tokenizers = {"image": PaletteTokenizer(np.linspace(-1, 1, 4)[:, None] * np.ones(3), 4), "text": BytesTokenizer()}
    layouts = [Layout.parse("text[4] image[4x4]"), Layout.parse("image[4x4] text[4]"), Layout.parse("image[4x4]")]
    sequencer = Sequencer(layouts, tokenizers, 32)
    torch.manual_seed(0)
    return Bundle(
        gpt=make_gpt(GPTConfig(layers=2, width=16, heads=2), sequencer.schema),
        sequencer=sequencer,
        tokenizer_names={"image": "palette", "text": "bytes"},
    )


def write_pictures(folder: Path, captions: bool) -> Path:
    for label, grey in (("dark", 10), ("light", 240)):
        for i in range(3):
            (folder / label).mkdir(parents=True, exist_ok=True)
            write_image(np.full((8, 8, 3), grey + i, np.uint8), folder / label / f"{i}.png")
            if captions:
                (folder / label / f"{i}.txt").write_text("abc")
    (folder / "light" / "broken.png").write_bytes(b"no picture")
    if captions:
        (folder / "light" / "broken.txt").write_text("abc")
    return folder


def test_a_model_goes_to_another_program_and_comes_back(tmp_path, capsys):
    save_bundle(text_bundle(), tmp_path / "bundle")
    save_bundle(picture_bundle(), tmp_path / "pictures")
    assert main(["export", str(tmp_path / "bundle"), "-o", str(tmp_path / "out")]) == 0
    assert "model.safetensors, tokenizer.json" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "out"), "-o", str(tmp_path / "again")]) == 0
    assert load_bundle(tmp_path / "again").schema.context == 16
    assert "has something in it" in error_of(capsys, 2, "export", tmp_path / "bundle", "-o", tmp_path / "out")
    refused = error_of(capsys, 1, "export", tmp_path / "pictures", "-o", tmp_path / "no")
    assert "no GPT-2 or Llama has layouts text[4] image[4x4]; image[4x4] text[4]; image[4x4] (one slot" in refused
    assert not (tmp_path / "no").exists()


def test_import_then_use(tmp_path: Path, theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(theirs), "-o", str(tmp_path / "model")]) == 0
    said = capsys.readouterr().err
    assert "tokenizer  none in the folder: a token is named by its number" in said
    assert f"helicon generate {tmp_path / 'model'} -n 4" in said
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("1 2 3\n4 5 6\n")
    model = str(tmp_path / "model")
    assert main(["generate", model, "--text", "1 2", "--tokens", "4", "-o", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "000.txt").read_text().startswith("1 2")
    assert main(["eval", model, "--data.path", str(tmp_path / "data")]) == 0
    assert main(["info", model]) == 0
    assert "imported theirs, model_type gpt2" in capsys.readouterr().out


def test_import_writes_over_nothing(tmp_path: Path, theirs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new").mkdir()
    assert main(["import", str(theirs), "-o", str(tmp_path / "new")]) == 0
    assert "has something in it" in error_of(capsys, 2, "import", theirs, "-o", tmp_path / "new")
    assert "is a file, a folder is needed" in error_of(capsys, 2, "import", theirs, "-o", theirs / "config.json")
    assert "no such file or folder" in error_of(capsys, 1, "import", tmp_path / "nothing", "-o", tmp_path / "other")
    (theirs / "config.json").unlink()
    assert "no config.json in it" in error_of(capsys, 1, "import", theirs, "-o", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["text", "image"])
def test_an_imported_model_is_fine_tuned(tmp_path: Path, theirs: Path, task: str) -> None:
    if task == "image":
        transformers = pytest.importorskip("transformers")
        config = transformers.ImageGPTConfig(vocab_size=9, n_positions=16, n_embd=16, n_layer=1, n_head=2)
        transformers.ImageGPTForCausalImageModeling(config).save_pretrained(theirs)
        write_pictures(tmp_path / "data", captions=False)
    for i in range(4):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{i}.txt").write_text(f"{i} 2 3 4 5 6 7 8\n" * 4)
    assert main(["import", str(theirs), "-o", str(tmp_path / "model")]) == 0
    runs = ["--runs", str(tmp_path / "runs"), "--name", "fine"]
    args = ["train", task, str(tmp_path / "data"), "--from", str(tmp_path / "model"), "--minutes", "0.05", *runs]
    assert main([*args, "--trainer.max_steps", "2"]) == 0
    before, after = load_bundle(tmp_path / "model"), load_bundle(tmp_path / "runs" / "fine")
    assert after.schema.vocabulary == before.schema.vocabulary
    moved = (after.gpt.places.weight - before.gpt.places.weight).abs().max()
    assert 0 < moved < 0.1


def test_features_of_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_bundle(picture_bundle(), tmp_path / "model")
    folder = write_pictures(tmp_path / "data", captions=False)
    out = tmp_path / "deeper" / "found.npz"
    assert main(["features", str(tmp_path / "model"), str(folder), "--layer", "all", "-o", str(out)]) == 0
    said = capsys.readouterr().err
    assert "broken.png" in said
    assert "files      6 read, 1 skipped" in said
    assert "layout     image[4x4]\npieces     6, 2 labels" in said
    with np.load(out, allow_pickle=False) as found:
        assert found["layer"].tolist() == [0, 1, 2]
        assert found["features_2"].shape == (6, 16)
        assert found["labels"].tolist() == ["dark"] * 3 + ["light"] * 3
        assert found["names"][0] == "dark/0.png"
        # Greys of a picture's files become one colour each
        assert np.ptp(found["features_1"][:3], axis=0).max() < 1e-6
        assert np.ptp(found["features_1"], axis=0).max() > 1e-3


def test_features_of_a_slot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_bundle(picture_bundle(), tmp_path / "model")
    folder = write_pictures(tmp_path / "data", captions=True)
    args = ["features", str(tmp_path / "model"), str(folder), "--layer", "1", "--batch", "2"]
    for slot, layout in (("image", "text[4] image[4x4]"), ("text", "image[4x4] text[4]")):
        assert main([*args, "--to", slot, "-o", str(tmp_path / "found.npz")]) == 0
        assert f"layout     {layout}\n" in capsys.readouterr().err
    assert "--to music: this model makes image, text" in error_of(capsys, 2, *args, "--to", "music")
    bare = write_pictures(tmp_path / "bare", captions=False)
    wrong = ["features", tmp_path / "model", bare, "--layer", "1", "--to", "text"]
    assert "--to text: the files are those of image[4x4]" in error_of(capsys, 2, *wrong)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer", "2"], "--layer 2: this model has 0 (the embeddings) to 1 (the end)"),
        (["--layer", "1,9"], "--layer 9: this model has"),
        (["--layer", "last"], "--layer last: a number, several as in 2,4,6, or all; 0 to 1 are there"),
        (["--layer", "-1"], "--layer -1: a number"),
        (["--layer", "1", "--batch", "0"], "--batch must be 1 or more"),
        (["--layer", "1", "-o", "."], "-o .: is a folder"),
    ],
)
def test_wrong_options_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], options, message) -> None:
    save_bundle(text_bundle(), tmp_path / "model")
    assert message in error_of(capsys, 2, "features", tmp_path / "model", tmp_path, *options)
