"""A style before any medium: the folder's name, learned and asked for by name."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from helicon.bundle.storage import load_bundle
from helicon.cli import main
from helicon.formats.image import read_image, write_image

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ["--size", "tiny", "--model.layers=1", "--model.width=32", "--model.heads=2", "--samples=false"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Black and white pictures of 2 x 2 pixels in folders of these names, and texts of one letter."""
    folder = tmp_path_factory.mktemp("styles")
    for name, grey, letter in (("Black", 0, "a"), ("white", 255, "b")):
        (folder / "pictures" / name).mkdir(parents=True)
        (folder / "texts" / name).mkdir(parents=True)
        for number in range(12):
            write_image(np.full((2, 2, 3), grey, np.uint8), folder / "pictures" / name / f"{number}.png")
            (folder / "texts" / name / f"{number}.txt").write_text(letter * 40)
    (folder / "pictures" / "a.mid").touch()
    return folder


@pytest.fixture
def there(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    monkeypatch.setenv("HELICON_CACHE", str(home / "cache"))
    return home


def test_pictures_of_a_named_style(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["pictures", "--data.size=2", "--data.colours=2", "--data.batch_size=8", "--model.lr=0.01"]
    words += ["--trainer.max_steps=30", "--name", "drawn"]
    assert main(["train", "--layout", "style[1] image[2x2]", *words, *SMALL]) == 0
    bundle = load_bundle(there / "runs" / "drawn")
    assert bundle.tokenizer_names == {"style": "labels", "image": "palette"}
    assert set(bundle.sequencer.tokenizers["style"].block.tokens) == {"black", "white", "any-label"}
    for style, grey in (("black", 0), ("White", 255)):
        asked = ["runs/drawn", "--style", style, "-n", "2", "--temperature", "0.1", "-o", style]
        assert main(["generate", *asked]) == 0
        assert [read_image(Path(style, f"00{i}.png"), None)[0].mean() for i in range(2)] == [grey, grey]
    capsys.readouterr()
    assert main(["generate", "runs/drawn", "--style", "blac", "-o", "none"]) != 0
    assert "unknown label 'blac'; nearest: black" in capsys.readouterr().err


def test_the_labels_of_a_manifest_and_long_texts_have_a_style(there: Path) -> None:
    with open("labels.csv", "w", newline="") as file:
        rows = [(f"{n}/{i}.txt", "odd" if i % 2 else "even") for n in ("Black", "white") for i in range(12)]
        csv.writer(file).writerows([("file", "label"), *rows])
    Path("texts/Black/0.txt").write_text("line of a long text\n" * 3000)
    words = ["texts", "--manifest", "labels.csv", "--trainer.max_steps=1", "--model.context=16", "--name", "written"]
    assert main(["train", "--layout", "style[1] text", *words, *SMALL]) == 0
    tokenizer = load_bundle(there / "runs" / "written").sequencer.tokenizers["style"]
    assert set(tokenizer.block.tokens) == {"even", "odd", "any-label"}


@pytest.mark.parametrize(
    ("layouts", "message"),
    [
        (["style[1]"], "layout `style[1]`: a label is a condition of what is made; put a slot such as image after it"),
        (["image[2x2] style[1]"], "layout `image[2x2] style[1]`: a label is a condition"),
        (["style[3] music", "style[1] image[2x2]"], "slot 'style' is of music and of label in these layouts; a model"),
    ],
)
def test_layouts_that_a_label_does_not_fit(
    there: Path, capsys: pytest.CaptureFixture[str], layouts: list[str], message: str
) -> None:
    words = [word for layout in layouts for word in ("--layout", layout)]
    assert main(["train", *words, "pictures", *SMALL]) != 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("helicon: ")]
    assert line.startswith(f"helicon: {message}")
