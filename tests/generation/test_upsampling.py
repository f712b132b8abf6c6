"""Sound over several levels: as long as asked for, gone on with where it stopped, one model in memory at a time."""

from __future__ import annotations

import json
import shutil
import wave
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sound_bundles import RATE, noise, sound_bundle, sound_codec, upsampled

import helicon
from helicon.bundle.storage import load_bundle, save_bundle
from helicon.cli import main
from helicon.formats.audio import read_audio, write_audio
from helicon.generation import upsampling
from helicon.generation.decode_request import Prompt
from helicon.generation.engine import OnStep
from helicon.generation.request import Request, RequestError
from helicon.generation.runtime import RuntimeConfig
from helicon.generation.stream import TokenStream
from helicon.generation.upsampling import GenerationResult, generate_levels
from helicon.modalities.audio import codes_tokenizer

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = RuntimeConfig(torch.device("cpu"))
ASKED = Request(count=3, seed=5, seconds=0.05)  # 400 samples: 25 codes, and 100 of the finer level
LEVELS = ("hop-16", "hop-4")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model of hops of 16 samples, with an upsampler to hops of 4."""
    return upsampled(tmp_path_factory.mktemp("model"))


def made(
    model: Path, request: Request, out: Path, watch: Callable[..., OnStep | None] = lambda *level: None
) -> GenerationResult:
    return generate_levels(model, request, CPU, out, watch)


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory) -> Path:
    """Three items, made without a stop."""
    out = tmp_path_factory.mktemp("whole")
    made(model, ASKED, out)
    return out


@pytest.fixture
def out(whole, tmp_path) -> Path:
    """A copy of it."""
    return shutil.copytree(whole, tmp_path / "out")


def sounds(out: Path) -> dict[str, bytes]:
    """Every WAV file that was written, by level and item."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.wav"))}


def ids(out: Path, level: str, place: int = 0) -> np.ndarray:
    return np.load(out / "levels" / level / f"{place:03d}.npy")


def told_of(told: list[str]) -> Callable[..., OnStep | None]:
    """Notes what is made."""
    return lambda bundle, layout, what: told.append(what)


def test_the_library_makes_all_levels_of_a_run(model, whole):
    items = helicon.sample(model, 3, 5, seconds=0.05, device="cpu")
    assert [item.ids.tolist() for item in items] == [ids(whole, "hop-4", place).tolist() for place in range(3)]
    (top, *_) = helicon.sample(helicon.load(model, "cpu"), 3, 5, seconds=0.05)
    assert top.ids.tolist() == ids(whole, "hop-16").tolist()


class Stopped(Exception):
    pass


def stopped_in(level: str, step: int) -> Callable[..., OnStep | None]:
    """Raises after so many steps of what is called so."""

    def watch(bundle: object, layout: object, what: str) -> OnStep | None:
        steps = []

        def on_step(streams: Sequence[TokenStream]) -> None:
            steps.append(1)
            if len(steps) == step:
                raise Stopped

        return on_step if what.startswith(level) else None

    return watch


@pytest.mark.parametrize("seconds", [0.0001, 0.0005, 0.0017, 0.05, 0.2001])
def test_files_are_as_long_as_asked_for_to_the_sample(model, tmp_path, seconds):
    """Of every level, and of what is returned, which commands write as it is."""
    found = made(model, Request(count=2, seconds=seconds), tmp_path)
    assert [len(item.media) for item in found.items] == [round(seconds * RATE)] * 2
    for name in ("hop-16/000.wav", "hop-16/001.wav", "hop-4/000.wav", "hop-4/001.wav"):
        with wave.open(str(tmp_path / "levels" / name)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (RATE, 1, round(seconds * RATE))


def test_the_page_and_the_records_are_of_the_finest_level(model, tmp_path, capsys):
    command = ["generate", str(model), "--style", "gong", "--seconds", "0.1", "-n", "2", "-o", str(tmp_path)]
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "hop-16: 100 tokens" in said
    assert "hop-4, items 0 to 1: 400 tokens" in said
    for name in ("000.wav", "001.wav"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "levels" / "hop-4" / name).read_bytes()
    record = json.loads((tmp_path / "000.json").read_text())
    assert record["tokens"] == 200
    assert record["model_hash"] == load_bundle(model / "upsampler-0").hash() != load_bundle(model).hash()
    assert 'src="000.wav"' in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_finer_codes_are_made_for_each_of_the_coarser(model, tmp_path):
    found = made(model, Request(count=2, tokens=9), tmp_path)
    for place, item in enumerate(found.items):
        assert len(item.ids) == 4 * len(ids(tmp_path, "hop-16", place)) == len(item.media) / 4
        assert np.array_equal(item.ids, ids(tmp_path, "hop-4", place))


def test_three_levels_follow_each_other(tmp_path):
    codec = sound_codec(hops=(2, 4, 16))
    model = upsampled(tmp_path / "model", sound_bundle(codec=codec), hops=(2, 4, 16))
    told: list[str] = []
    found = made(model, Request(seconds=0.05), tmp_path / "out", told_of(told))
    assert told == ["hop-16", "hop-4, items 0 to 0", "hop-2, items 0 to 0"]
    assert [len(ids(tmp_path / "out", f"hop-{hop}")) for hop in (16, 4, 2)] == [25, 100, 200]
    assert len(found.items[0].media) == 400
    assert found.model_hash == load_bundle(model / "upsampler-0").hash()


@pytest.mark.parametrize(("level", "step"), [("hop-16", 20), ("hop-4, items 0", 1), ("hop-4, items 1", 80)])
def test_what_was_stopped_goes_on_to_the_same_bytes(model, whole, tmp_path, monkeypatch, level, step):
    monkeypatch.setattr(upsampling, "BATCH_SIZE", 1)
    with pytest.raises(Stopped):
        made(model, ASKED, tmp_path, stopped_in(level, step))
    assert len(sounds(tmp_path)) < len(sounds(whole)) == 6
    again: list[str] = []
    made(model, ASKED, tmp_path, told_of(again))
    assert sounds(tmp_path) == sounds(whole)
    steps = ["hop-16", "hop-4, items 0 to 0", "hop-4, items 1 to 1", "hop-4, items 2 to 2"]
    assert again == steps[next(i for i, name in enumerate(steps) if name.startswith(level)) :]


def test_what_is_done_is_not_made_again(model, whole, tmp_path):
    found = made(model, ASKED, tmp_path)
    assert sounds(tmp_path) == sounds(whole)
    told: list[str] = []
    again = made(model, ASKED, tmp_path, told_of(told))
    assert told == []
    assert again.model_hash == found.model_hash
    for one, other in zip(found.items, again.items):
        assert (one.number, one.score) == (other.number, other.score)
        assert np.array_equal(one.media.samples, other.media.samples)


def test_groups_are_the_same_whatever_is_there(model, out, monkeypatch):
    """Sums of floats depend on the batch: an item that is missing is made beside those that it was made with."""
    monkeypatch.setattr(upsampling, "BATCH_SIZE", 2)
    (out / "levels" / "hop-4" / "001.npy").unlink()
    told: list[str] = []
    made(model, ASKED, out, told_of(told))
    assert told == ["hop-4, items 0 to 1"]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda data: data[:-10],
    "cut in the header": lambda data: data[:20],
    "empty": lambda data: b"",
    "no array": lambda data: b"nonsense" + data,
    "an archive": lambda data: b"PK\x03\x04" + data,
}


@pytest.mark.parametrize(("level", "harm"), [*(("hop-4", harm) for harm in DAMAGE), ("hop-16", "truncated")])
def test_damaged_ids_are_made_again(model, whole, out, level, harm):
    path = out / "levels" / level / "001.npy"
    path.write_bytes(DAMAGE[harm](path.read_bytes()))
    told: list[str] = []
    made(model, ASKED, out, told_of(told))
    assert [each.partition(",")[0] for each in told] == [level]
    assert sounds(out) == sounds(whole)
    for place in range(3):
        assert np.array_equal(ids(out, level, place), ids(whole, level, place))


@pytest.mark.parametrize(("name", "text"), [("request.json", "{"), ("items.json", "{"), ("items.json", "[" * 99_999)])
def test_damaged_records_begin_anew(model, whole, out, name, text):
    (out / "levels" / name).write_text(text)
    told: list[str] = []
    made(model, ASKED, out, told_of(told))
    assert told[0] == "hop-16"
    assert sounds(out) == sounds(whole)


@pytest.mark.parametrize("change", [{"seed": 6}, {"count": 2}, {"conditions": {"style": "bell"}}, {"prime": "in.wav"}])
def test_another_request_begins_anew(model, out, tmp_path, monkeypatch, change):
    monkeypatch.chdir(tmp_path)
    write_audio(noise(160), tmp_path / "in.wav")
    request = replace(ASKED, **{name: Path(value) if name == "prime" else value for name, value in change.items()})
    told: list[str] = []
    made(model, request, out, told_of(told))
    assert told == ["hop-16", f"hop-4, items 0 to {request.count - 1}"]
    made(model, request, tmp_path / "fresh")
    assert sounds(out) == sounds(tmp_path / "fresh")
    names = [sorted(path.name for path in folder.rglob("*")) for folder in (out, tmp_path / "fresh")]
    assert names[0] == names[1]


def test_another_file_of_the_same_name_begins_anew(model, tmp_path):
    request = Request(prime=tmp_path / "in.wav", seconds=0.03)
    for seed in (1, 2):
        write_audio(noise(160, seed), tmp_path / "in.wav")
        told: list[str] = []
        made(model, request, tmp_path / "out", told_of(told))
        assert told == ["hop-16", "hop-4, items 0 to 0"]


@pytest.mark.parametrize("which", ["the model", "the upsampler"])
def test_another_model_begins_anew(tmp_path, which):
    model = upsampled(tmp_path / "model")
    made(model, ASKED, tmp_path / "out")
    if which == "the model":
        save_bundle(sound_bundle(seed=9), model / "model")
    else:
        save_bundle(sound_bundle("style[1] audio@above", level=0, seed=9), model / "model" / "upsamplers" / "0")
    told: list[str] = []
    made(model, ASKED, tmp_path / "out", told_of(told))
    assert told[0] == "hop-16"


def test_a_folder_of_something_else_is_left_alone(model, tmp_path):
    (tmp_path / "levels").mkdir()
    (tmp_path / "levels" / "mine.txt").write_text("mine")
    with pytest.raises(RequestError, match="levels has something else in it"):
        made(model, ASKED, tmp_path)
    assert [path.name for path in (tmp_path / "levels").iterdir()] == ["mine.txt"]


def test_one_model_is_alive_at_a_time(tmp_path, monkeypatch):
    codec = sound_codec(hops=(2, 4, 16))
    model = upsampled(tmp_path / "model", sound_bundle(codec=codec), hops=(2, 4, 16))
    alive: list[weakref.ref[Any]] = []
    load, counts = load_bundle, []

    def watched(*args: Any) -> Any:
        counts.append(sum(ref() is not None for ref in alive))
        bundle = load(*args)
        alive.append(weakref.ref(bundle.gpt))
        return bundle

    monkeypatch.setattr("helicon.generation.runtime.load_bundle", watched)
    assert main(["generate", str(model), "--seconds", "0.02", "-n", "2", "-o", str(tmp_path / "out")]) == 0
    assert counts == [0, 0, 0]


def test_a_sound_is_continued_at_every_level(model, tmp_path):
    write_audio(noise(801), tmp_path / "in.wav")
    given = read_audio(tmp_path / "in.wav")[0]
    for request, kept in (
        (Request(prime=tmp_path / "in.wav", seconds=0.15), given),
        (Request(prime=tmp_path / "in.wav", keep="0.05s", seconds=0.15), given.cut(0.05)),
    ):
        found = made(model, request, tmp_path / "out").items[0]
        for level, name in enumerate(("hop-4", "hop-16")):
            prime = codes_tokenizer(sound_codec(), level).encode(kept)
            found_ids = ids(tmp_path / "out", name)
            assert np.array_equal(found_ids[: len(prime)], prime)
            assert len(found_ids) == (1200 + (4, 16)[level] - 1) // (4, 16)[level]
        assert len(found.media) == 1200


def test_a_prime_that_is_longer_than_what_is_asked_for_is_refused_unless_part_is_kept(model, tmp_path):
    write_audio(noise(801), tmp_path / "in.wav")
    with pytest.raises(RequestError, match=r"0\.10 s of 0\.05, nothing is left to make; --keep 2s keeps the beginning"):
        made(model, Request(prime=tmp_path / "in.wav", seconds=0.05), tmp_path)
    kept = Request(prime=tmp_path / "in.wav", keep="0.02s", seconds=0.05)
    assert len(made(model, kept, tmp_path).items[0].media) == 400


def test_the_style_goes_to_every_level(model, tmp_path, monkeypatch):
    told: list[list[Prompt]] = []
    decode = upsampling.decode
    for module in ("helicon.generation.upsampling", "helicon.generation.generate"):
        monkeypatch.setattr(f"{module}.decode", lambda *args, **how: told.append(args[3]) or decode(*args, **how))
    made(model, Request(count=2, conditions={"style": "gong"}, seconds=0.01), tmp_path)
    assert [[prompt.conditions["style"].tolist() for prompt in prompts] for prompts in told] == [[[1], [1]], [[1], [1]]]
    assert [len(prompt.conditions["above"]) for prompt in told[1]] == [5, 5]


def test_what_an_upsampler_has_no_slot_for_is_for_the_top(tmp_path):
    top = sound_bundle("lyrics[8] style[1] audio")
    model = upsampled(tmp_path / "model", top)
    long = "Sing, goddess, the anger of Peleus' son Achilles " * 20  # longer than a file's name may be
    found = made(model, Request(conditions={"lyrics": long, "style": "bell"}, seconds=0.02), tmp_path / "out")
    assert len(found.items[0].media) == 160


def test_upsamplers_without_a_style(tmp_path):
    model = upsampled(tmp_path / "model", layout="audio@above")
    found = made(model, Request(conditions={"style": "bell"}, seconds=0.02), tmp_path / "out")
    assert len(found.items[0].media) == 160


def test_what_is_no_sound_has_one_level(tmp_path):
    top = sound_bundle("text[8] audio; audio[64] text[8]", context=80)
    model = upsampled(tmp_path / "model", top, layout="audio@above")
    write_audio(noise(640), tmp_path / "in.wav")
    told: list[str] = []
    request = Request(count=2, conditions={"audio": str(tmp_path / "in.wav")}, to="text")
    for _ in range(2):  # the second time it is there
        found = made(model, request, tmp_path / "heard", told_of(told))
        assert told == ["text"]
        assert found.model_hash == top.hash()
        assert all(isinstance(item.media, str) for item in found.items)
    assert main(["generate", str(model), "--text", "bell", "--seconds", "0.05", "-o", str(tmp_path / "said")]) == 0
    assert len(read_audio(tmp_path / "said" / "000.wav")[0]) == 400


def test_items_do_not_depend_on_how_many_there_are(model, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(upsampling, "BATCH_SIZE", 2)
    for count, name in ((1, "one"), (5, "five")):
        made(model, replace(ASKED, count=count), tmp_path / name)
    for level in LEVELS:
        for place in range(3):
            assert np.array_equal(ids(tmp_path / "five", level, place), ids(whole, level, place))
        assert np.array_equal(ids(tmp_path / "one", level), ids(whole, level))
    assert len({ids(whole, "hop-4", place).tobytes() for place in range(3)}) == 3


def test_a_model_alone_keeps_no_levels(tmp_path):
    save_bundle(sound_bundle(), tmp_path / "alone")
    assert main(["generate", str(tmp_path / "alone"), "--seconds", "0.05", "-o", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out" / "levels").exists()
