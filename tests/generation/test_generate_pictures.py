"""Pictures and captions of untrained models: what is written, kept, ranked, and refused in one line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_bundles import CENTROIDS, image_bundle, picture, write_picture
from PIL import Image

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import save_bundle
from helicon.cli import main
from helicon.formats.image import read_image
from helicon.generation.generate import generate
from helicon.generation.prompts import choose_layout, make_prompt
from helicon.generation.request import Request, RequestError
from helicon.modalities.image import IMAGE
from helicon.tokenizers.palette import shown

pytestmark = pytest.mark.usefixtures("one_thread")

BOTH = ("text[4] image[]", "image[] text[4]")


@pytest.fixture(scope="module")
def both() -> Bundle:
    return image_bundle(*BOTH)


@pytest.fixture(scope="module")
def folder(both, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "joint"
    save_bundle(both, path)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """Pictures alone."""
    path = tmp_path_factory.mktemp("bundle") / "plain"
    save_bundle(image_bundle("image[]"), path)
    return path


def made(model: Path, out: Path, *args: str) -> list[str]:
    """Names of the files that `helicon generate` writes."""
    assert main(["generate", str(model), "-o", str(out), *args]) == 0
    return sorted(path.name for path in out.iterdir())


def refusal(capsys, model: Path, out: Path, *args: str) -> str:
    """The one line of an error; nothing is written."""
    capsys.readouterr()
    assert main(["generate", str(model), "-o", str(out), *args]) in (1, 2)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not out.exists()
    return error


def test_pictures_come_with_large_ones_a_sheet_and_a_page(folder, tmp_path):
    names = made(folder, tmp_path / "out", "--text", "red", "-n", "2", "--seed", "3")
    each = [f"00{i}{end}" for i in (0, 1) for end in ("-large.png", ".json", ".png")]
    assert names == sorted([*each, "index.html", "sheet.png"])
    pixels, _ = read_image(tmp_path / "out" / "000.png")
    assert pixels.shape == (4, 4, 3)
    assert {tuple(colour) for colour in pixels.reshape(-1, 3)} <= set(map(tuple, shown(CENTROIDS)))
    large, _ = read_image(tmp_path / "out" / "000-large.png")
    assert np.array_equal(large, pixels.repeat(64, 0).repeat(64, 1))
    record = json.loads((tmp_path / "out" / "001.json").read_text())
    assert (record["item"], record["seed"], record["tokens"]) == (1, 3, 16)
    assert "score" not in record
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("-large.png") == 2
    assert made(folder, tmp_path / "one", "--text", "red")[-1] == "index.html"  # one picture needs no sheet


def test_the_same_command_gives_the_same_bytes(folder, tmp_path):
    for out in ("a", "b"):
        made(folder, tmp_path / out, "--text", "red", "-n", "3", "--guidance", "2", "--best-of", "4")
    a, b = ({p.name: p.read_bytes() for p in (tmp_path / out).iterdir()} for out in ("a", "b"))
    assert a == b


def test_the_kept_rows_of_a_picture_stay_and_the_rest_is_made(plain, tmp_path):
    source = write_picture(tmp_path / "picture.png", 7)
    made(plain, tmp_path / "out", "--prime", str(tmp_path / "picture.png"), "--keep", "0.5", "-n", "3")
    found = [read_image(tmp_path / "out" / f"00{i}.png")[0] for i in range(3)]
    assert all(np.array_equal(pixels[:2], source[:2]) for pixels in found)
    assert len({pixels[2:].tobytes() for pixels in found}) == 3


def test_a_large_picture_is_read_at_the_models_size(both, tmp_path):
    Image.fromarray(picture(5).repeat(5, 0).repeat(5, 1)).save(tmp_path / "large.bmp")
    prompt, conditions = make_prompt(
        both, both.schema.layouts[1], Request(conditions={"image": str(tmp_path / "large.bmp")})
    )
    assert conditions["image"].shape == (4, 4, 3)
    assert len(prompt.conditions["image"]) == 16


def test_a_whole_picture_is_not_to_be_continued(plain, tmp_path, capsys):
    write_picture(tmp_path / "picture.png", 7)
    for option in ("--prime", "--image"):
        said = refusal(capsys, plain, tmp_path / "out", option, str(tmp_path / "picture.png"))
        assert "16 of 16 tokens, nothing is left to make; --prime FILE --keep 0.5 keeps half of a file" in said
        assert f"helicon: {option}" in said
    said = refusal(capsys, plain, tmp_path / "out", "--prime", str(tmp_path / "picture.png"), "--keep", "8s")
    assert "cannot keep '8s': a share between 0 and 1 is accepted" in said


def test_pictures_get_captions(folder, both, tmp_path):
    write_picture(tmp_path / "picture.png", 7)
    names = made(folder, tmp_path / "out", "--image", str(tmp_path / "picture.png"), "--to", "text", "-n", "2")
    assert names == ["000.json", "000.txt", "001.json", "001.txt", "index.html"]
    asked = Request(count=2, conditions={"image": str(tmp_path / "picture.png")})
    assert str(choose_layout(both, asked)) == "image[4x4] text[4]"  # also without --to: a condition, if it can be one
    items = generate(both, asked)
    assert [(tmp_path / "out" / f"00{i}.txt").read_text(encoding="utf-8") for i in (0, 1)] == [i.media for i in items]
    assert all(len(item.ids) <= 4 for item in items)


def test_the_best_fit_comes_first(folder, tmp_path):
    made(folder, tmp_path / "all", "--text", "red", "-n", "5", "--best-of", "5")
    made(folder, tmp_path / "best", "--text", "red", "-n", "2", "--best-of", "5")
    made(folder, tmp_path / "plain", "--text", "red", "-n", "5")
    ranked, best = (
        [json.loads(path.read_text()) for path in sorted((tmp_path / out).glob("*.json"))] for out in ("all", "best")
    )
    scores = [record["score"] for record in ranked]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1]
    assert sorted(record["item"] for record in ranked) == list(range(5))
    assert [(r["item"], r["score"]) for r in best] == [(r["item"], r["score"]) for r in ranked[:2]]
    for place, record in enumerate(ranked):
        same = tmp_path / "plain" / f"00{record['item']}.png"
        assert (tmp_path / "all" / f"00{place}.png").read_bytes() == same.read_bytes()


def test_guidance_changes_what_is_made(both):
    plain = Request(count=4, conditions={"text": "red"}, to="image")
    made = [
        [item.ids.tolist() for item in generate(both, request)]
        for request in (plain, replace(plain, guidance=1.0), replace(plain, guidance=3.0))
    ]
    assert made[0] == made[1] != made[2]


READ = " ".join(sorted(IMAGE.suffixes))  # more with some libraries


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--text", "red", "-n", "4", "--best-of", "3"], "--best-of 3: the best 4 are to be kept of at least as many"),
        (["--best-of", "3"], "--best-of ranks what is made by how well it fits what is given"),
        (["--text", "red", "--best-of", "3", "--tokens", "5"], "image[4x4] has 16 tokens; leave out --tokens"),
        (["--text", "red", "--tokens", "17"], "--tokens 17: image[4x4] has 16 tokens, and cannot go on after them"),
        (["--text", "red", "--guidance", "-1"], "guidance must be 0 or more, got -1"),
        (["--text", "a long caption"], "--text: 14 tokens, this model takes 4"),
        (["--text", "a long caption", "--to", "text"], "--text: 14 of 4 tokens, nothing is left to make"),
        (["--image", "nowhere.png"], f"--image nowhere.png: no such file; {READ} files"),
        (["--text", "red", "--seconds", "3"], "--seconds: image has no time"),
        (["--prime", "song.mid"], f"this model continues {READ.partition(' .jp')[0]}"),
    ],
)
def test_a_wrong_request_is_one_line_and_writes_nothing(folder, tmp_path, capsys, args, said):
    assert said in refusal(capsys, folder, tmp_path / "out", *args)


def test_nothing_is_sampled_before_it_is_known_that_it_can_be_ranked(both, monkeypatch):
    monkeypatch.setattr("helicon.generation.generate.decode", lambda *args, **how: pytest.fail("sampled"))
    with pytest.raises(RequestError, match="a caption, for a picture"):
        generate(both, Request(count=1, best_of=2))


def test_a_model_without_conditions_has_none_to_heed(plain, tmp_path, capsys):
    assert "--guidance 2: this model takes no conditions" in refusal(capsys, plain, tmp_path / "out", "--guidance", "2")
    assert "a caption, for a picture" in refusal(capsys, plain, tmp_path / "out", "--best-of", "2")


def test_a_broken_condition_is_named(folder, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"II*\0not a PNG")
    said = refusal(capsys, folder, tmp_path / "out", "--image", str(tmp_path / "bad.png"), "--to", "text")
    assert said.startswith(f"helicon: {tmp_path / 'bad.png'}: a TIFF file named .png: accepted under that name: PNG")
