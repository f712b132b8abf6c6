"""Media in, media out: what is asked for is made, twice the same, or refused in one line."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import mido
import numpy as np
import pytest
import torch

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.storage import save_bundle
from helicon.cli import main
from helicon.demos.composer import compose
from helicon.formats.midi_write import write_midi
from helicon.generation.generate import generate
from helicon.generation.prompts import choose_layout
from helicon.generation.request import Request, RequestError
from helicon.gpt.model import GPTConfig
from helicon.modalities import registry
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.text import BytesTokenizer

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS = ("chorale", "dance", "duet")


def untrained(*layouts: str, context: int = 64) -> Bundle:
    surveys = [registry.get("music").survey(compose(seed, label)) for seed, label in enumerate(LABELS)]
    tokenizers = {
        "style": registry.spec("style", "style").fit(surveys, siblings={}),
        "music": registry.spec("music", "music").fit(surveys),
        "text": BytesTokenizer(),
    }
    sequencer = Sequencer([Layout.parse(spec) for spec in layouts], tokenizers, context)
    torch.manual_seed(1)
    return Bundle(
        gpt=make_gpt(GPTConfig(layers=2, width=32, heads=2), sequencer.schema),
        sequencer=sequencer,
        tokenizer_names={"style": "style", "music": "music", "text": "bytes"},
    )


@pytest.fixture(scope="module")
def music() -> Bundle:
    return untrained("style[3] music", "text[8] style[3] music")


@pytest.fixture(scope="module")
def folder(music, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "musicmodel"
    save_bundle(music, path)
    return path


def hanging_notes(path: Path) -> int:
    """Note-ons without a note-off, as mido reads them."""
    sounding = set()
    for message in mido.MidiFile(path):
        if message.type == "note_on" and message.velocity:
            sounding.add((message.channel, message.note))
        elif message.type in ("note_off", "note_on"):
            sounding.discard((message.channel, message.note))
    return len(sounding)


def test_untrained_weights_at_temperature_1_5_give_whole_files_of_the_length_asked_for(music, tmp_path):
    symusic = pytest.importorskip("symusic")
    items = generate(music, Request(count=12, seconds=30, temperature=1.5, seed=3))
    for item in items:
        path = tmp_path / f"{item.number}.mid"
        item.modality.write(item.media, path)
        assert hanging_notes(path) == 0
        assert mido.MidiFile(path).length == pytest.approx(30, abs=1)
        notes = [note for track in symusic.Score(path).tracks for note in track.notes]
        assert len(notes) == len(item.media) > 0
        assert all(note.duration > 0 for note in notes)
        assert item.media.seconds == pytest.approx(30, abs=0.011)
        assert len(item.ids) > music.schema.context  # beyond the context


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_one_command_twice_gives_the_same_bytes(folder, tmp_path, capsys):
    command = ["generate", str(folder), "-n", "2", "--seed", "7", "--tokens", "60", "--style", "dance tempo90", "-o"]
    assert main([*command, str(tmp_path / "a")]) == 0
    assert main([*command, str(tmp_path / "b")]) == 0
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert sorted(files(tmp_path / "a")) == sorted(
        [f"00{i}{suffix}" for i in (0, 1) for suffix in (".mid", ".wav", ".png", ".json")] + ["index.html"]
    )
    record = json.loads((tmp_path / "a" / "001.json").read_text())
    assert (record["seed"], record["item"]) == (7, 1)
    assert record["settings"]["given"] == {"style": "dance tempo90"}
    capsys.readouterr()
    assert main([*command[:-1], "--seed", "8", "-o", str(tmp_path / "c")]) == 0
    assert files(tmp_path / "c")["000.mid"] != files(tmp_path / "a")["000.mid"]


def test_an_item_does_not_depend_on_how_many_are_made(music):
    music.gpt.double()
    try:
        eight = generate(music, Request(count=8, tokens=120, temperature=1.2))
        four = generate(music, Request(count=4, tokens=120, temperature=1.2))
    finally:
        music.gpt.float()
    assert all(np.array_equal(a.ids, b.ids) for a, b in zip(four, eight))
    assert not np.array_equal(eight[0].ids, eight[1].ids)


def test_a_style_is_obeyed_and_written(music, tmp_path):
    table = music.sequencer.tokenizers["style"].table  # type: ignore[attr-defined]
    name = table.instruments[0].name
    (item,) = generate(music, Request(conditions={"style": f"duet {name} tempo90"}, tokens=100))
    assert {table.instruments[i].name for i in table.by_program[item.media.program]} == {name}
    assert (item.media.label, item.media.tempo_bpm) == ("duet", pytest.approx(90, abs=1e-4))


@pytest.mark.parametrize(("keep", "seconds"), [(None, None), ("4s", 4.0), ("0.25", None)])
def test_a_prime_is_kept_exactly(music, tmp_path, keep, seconds):
    prime = tmp_path / "start.mid"
    write_midi(compose(8), prime)
    score, _ = registry.get("music").read(prime)
    whole = score.seconds
    (item,) = generate(music, Request(prime=prime, keep=keep, seconds=whole + 5))
    end = seconds if seconds else whole if keep is None else whole / 4
    expected = music.sequencer.tokenizers["music"].encode(score.between(0, end))
    assert np.array_equal(item.ids[: len(expected)], expected)
    assert item.media.seconds == pytest.approx(whole + 5, abs=0.011)
    assert len(expected) > music.schema.context or keep


def test_a_prime_that_fills_the_context_is_continued_without_being_told_how_far(music, tmp_path):
    prime = tmp_path / "start.mid"
    write_midi(compose(8), prime)
    (item,) = generate(music, Request(prime=prime, seed=2))
    given = music.sequencer.tokenizers["music"].encode(registry.get("music").read(prime)[0])
    assert len(given) + 5 < len(item.ids) <= len(given) + music.schema.context


@pytest.mark.parametrize("text", ["😀 🎹", "שלום עליכם", "plain", "../../x", "a/b\\c", "x.txt", "CON"])
def test_texts_in_any_script_never_name_a_file(tmp_path, text):
    save_bundle(untrained("text[40] style[3] music", "text"), tmp_path / "m")
    assert main(["generate", str(tmp_path / "m"), "--text", text, "--tokens", "20", "-o", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        ["m", "out", "bundle.json", "model.safetensors", "000.mid", "000.wav", "000.png", "000.json", "index.html"]
    )
    assert json.loads((tmp_path / "out" / "000.json").read_text(encoding="utf-8"))["settings"]["given"] == {
        "text": text
    }


@pytest.mark.parametrize("text", ["x" * 1_000_000, "x" * 1_000_000 + ".txt", "a\0b.txt"])
def test_long_texts_and_nul_are_text(text):
    bundle = untrained("text")
    (item,) = generate(bundle, Request(conditions={"text": text}, tokens=3))
    assert item.media.startswith(text)
    joint = untrained("text[8] style[3] music")
    if len(text) > 8:
        with pytest.raises(RequestError, match=rf"--text: {len(text)} tokens, this model takes 8"):
            generate(joint, Request(conditions={"text": text}, tokens=3))


def test_a_lone_surrogate_is_one_line():
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        generate(untrained("text"), Request(conditions={"text": "a\udcff"}, tokens=3))


def test_what_was_given_chooses_the_layout():
    bundle = untrained("style[3] music", "text[8] style[3] music", "text")
    assert str(choose_layout(bundle, Request())) == "style[3] music"
    assert str(choose_layout(bundle, Request(conditions={"text": "a"}))) == "text[8] style[3] music"
    assert str(choose_layout(bundle, Request(conditions={"text": "a"}, to="text"))) == "text"
    assert str(choose_layout(bundle, Request(prime=Path("a.TXT")))) == "text"
    with pytest.raises(RequestError, match=r"no layout of this model takes --style"):
        choose_layout(bundle, Request(conditions={"style": "x"}, to="text"))


@pytest.mark.parametrize("primed", [6, 2])
def test_a_slot_of_a_length_is_completed_however_much_is_kept(tmp_path, primed):
    bundle = untrained("text[8]")
    (tmp_path / "a.txt").write_text("an ode, "[:primed])
    (item,) = generate(bundle, Request(prime=tmp_path / "a.txt"))
    assert len(item.ids) <= 8
    assert "an ode, "[:primed] == item.media[:primed]


def test_words_that_a_slot_has_no_place_for_are_left_out_where_they_say_nothing():
    bundle = untrained("style[1] music")
    for given in ({}, {"style": "duet"}):
        (item,) = generate(bundle, Request(conditions=given, tokens=8))
        assert len(item.ids) <= 8
    with pytest.raises(RequestError, match=r"^--style: 3 tokens, this model takes 1$"):
        generate(bundle, Request(conditions={"style": "duet tempo90"}, tokens=8))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--style", "choral"], "unknown style word 'choral'; nearest: chorale"),
        (["--styl", "x"], "unknown slot 'styl'; nearest: style"),
        (["--to", "musik"], "unknown slot 'musik'; nearest: music"),
        (["--prime", "nowhere.mid"], "--prime nowhere.mid: no such file"),
        (
            ["--prime", "song.mp3"],
            "--prime song.mp3: this model continues .kar .mid .mid.gz .midi .midi.gz .rmi .smf files",
        ),
        (["--keep", "8s"], "--keep says how much of --prime FILE to keep"),
        (["--text", "more than eight letters"], "--text: 23 tokens, this model takes 8"),
        (["-n", "0"], "-n must be 1 to 10,000, got 0"),
        (["--tokens", "0"], "--tokens must be 1 to 10,000,000, got 0"),
        (["--seconds", "0"], "--seconds must be above 0"),
        (["--seconds", "nan"], "--seconds must be above 0"),
        (["--temperature", "-1"], "temperature must be 0 or more"),
        (["--top-k", "0"], "top_k must be 1 or more"),
        (["--overlap", "1"], "overlap must be above 0 and below 1"),
        (["--top-k", "x"], "--top-k: invalid int value"),
        (["--style"], "--style"),
        (["extra"], "extra"),
    ],
)
def test_a_wrong_request_is_one_line_and_writes_nothing(folder, tmp_path, capsys, monkeypatch, args, said):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", str(folder), "--tokens", "3", *args]) in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("helicon: ")
    assert said in error
    assert list(tmp_path.iterdir()) == []


def test_a_broken_prime_is_named(folder, tmp_path, capsys):
    (tmp_path / "bad.mid").write_bytes(b"no music")
    assert main(["generate", str(folder), "--prime", str(tmp_path / "bad.mid"), "-o", str(tmp_path / "out")]) == 1
    assert f"helicon: {tmp_path / 'bad.mid'}: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_tokens_are_streamed(folder, tmp_path, capsys):
    assert main(["generate", str(folder), "--tokens", "12", "--stream", "-o", str(tmp_path)]) == 0
    words = capsys.readouterr().out.split()
    assert len(words) == json.loads((tmp_path / "000.json").read_text())["tokens"]


def test_tokens_of_a_run_go_there_and_back(folder, tmp_path, capsys):
    write_midi(compose(4, "dance"), tmp_path / "a.mid")
    for ids in ([], ["--ids"]):
        assert main(["tokenize", str(tmp_path / "a.mid"), "--run", str(folder), *ids]) == 0
        line = capsys.readouterr().out
        (tmp_path / "a.tokens").write_text(line)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            out = str(tmp_path / "b.mid")
            assert main(["detokenize", str(tmp_path / "a.tokens"), "--run", str(folder), "-o", out, *ids]) == 0
        assert main(["tokenize", out, "--run", str(folder), *ids]) == 0
        assert capsys.readouterr().out.split()[3:] == line.split()[3:]


@pytest.mark.parametrize(
    ("content", "args", "said"),
    [
        ("", [], "empty"),
        ("99999999", ["--ids"], "99999999"),
        ("-3", ["--ids"], "'-3' is not a number"),
        ("wait:9999", [], "'wait:9999'"),
    ],
)
@pytest.mark.parametrize("run", [True, False])
def test_tokens_that_are_none_are_named(folder, tmp_path, capsys, run, content, args, said):
    (tmp_path / "a.tokens").write_text(content)
    model = ["--run", str(folder)] if run else []
    out = ["-o", str(tmp_path / "b.mid")]
    assert main(["detokenize", str(tmp_path / "a.tokens"), *model, *out, *args]) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "b.mid").exists()
