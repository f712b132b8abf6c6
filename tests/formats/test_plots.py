import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from helicon.formats.plots import curves, piano_roll
from helicon.formats.score import DRUMS, Score

BLUE, GREY = (0x2F, 0x6F, 0xB7), (0x4A, 0x4A, 0x4A)
PIECE = Score.of([0, 1, 2, 0], [1, 2, 4, 0.1], [60, 64, 67, 36], [127, 127, 127, 127], [0, 0, 0, DRUMS])


def colors(path) -> set:
    return {tuple(color) for color in np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3).tolist()}


def test_a_piano_roll_is_1000_pixels_wide_and_shows_each_family(tmp_path):
    piano_roll(PIECE, tmp_path / "roll.png")
    with Image.open(tmp_path / "roll.png") as image:
        assert (image.format, image.width) == ("PNG", 1000)
    assert colors(tmp_path / "roll.png") >= {BLUE, GREY}


@pytest.mark.parametrize("keep", [[], [3], [0, 1]])
def test_a_piano_roll_of_nothing_of_drums_and_of_pitches_alone(tmp_path, keep):
    columns = (PIECE.onset_s, PIECE.end_s, PIECE.pitch, PIECE.velocity, PIECE.program)
    order = [list(PIECE.program).index(DRUMS) if i == 3 else i for i in keep]
    piano_roll(Score.of(*(column[order] for column in columns)), tmp_path / "roll.png")
    assert (tmp_path / "roll.png").stat().st_size > 1000


def test_curves_leave_out_what_is_not_finite(tmp_path):
    steps = np.arange(500)
    train = np.where(steps % 50 == 7, np.nan, 2 + np.exp(-steps / 50))
    series = {"train": (steps, train), "held out": ([0, 250, 499], [3.0, 2.3, float("inf")])}
    curves(series, tmp_path / "loss.png", label="loss", levels={"bigram": 2.5})
    assert BLUE in colors(tmp_path / "loss.png")
    curves({}, tmp_path / "empty.png", label="loss")


def test_one_value_at_the_first_step_is_a_curve(tmp_path):
    curves({"held out": ([0], [3.0])}, tmp_path / "one.png", label="loss")
    assert BLUE in colors(tmp_path / "one.png")


def test_the_same_picture_is_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        piano_roll(PIECE, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert b"matplotlib" not in (tmp_path / "a.png").read_bytes()


def test_importing_plots_does_not_import_matplotlib():
    code = "import sys, helicon.formats.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_settings_of_the_current_folder_are_not_obeyed(tmp_path):
    """Neither where a picture is drawn nor where Lightning is imported, whose torchmetrics imports matplotlib."""
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 99\n")
    code = "import helicon.training, matplotlib; print(matplotlib.rcParams['lines.linewidth'])"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1.5"
