"""How files were read for a training is part of the model: every command reads files for it in the same way."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_bundles import image_bundle

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import CONFIG, BundleError, load_bundle, save_bundle
from helicon.cli import main
from helicon.data.config import sequence_data_config
from helicon.data.files import DataError
from helicon.evaluation import style_sampler
from helicon.evaluation.losses import open_folder
from helicon.formats.midi import read_midi
from helicon.formats.read_report import ReadReport
from helicon.formats.score import Score
from helicon.generation.prompts import choose_layout, make_prompt
from helicon.generation.request import Request
from helicon.modalities import registry
from helicon.modalities.music import MUSIC, MusicOptions
from helicon.presets import merge
from helicon.tokenizers.style import Style
from helicon.training.learning.data import SequenceData
from helicon.training.options import resolve, typed_config
from helicon.training.parser import make_parser
from helicon.training.settings.idle_options import settled_option
from helicon.training.usage_errors import UsageError

sys.path.append(str(Path(__file__).parent / "commands"))
from tiny_bundles import music_bundle

SONG = bytes.fromhex(  # a note of a quarter that the pedal holds for three, and then another
    "4D546864 00000006 0000 0001 01E0 4D54726B 0000001D"
    "00B0407F 00903C40 8360803C00 8740B04000 00904340 8360804300 00FF2F00"
)


DRUMS = {"drums": MUSIC.slots["music"]}


@pytest.fixture
def song(tmp_path) -> Path:
    path = tmp_path / "songs" / "song.mid"
    path.parent.mkdir()
    path.write_bytes(SONG)
    return path


@pytest.fixture(params=["extend", "drop"])
def pedal(request) -> str:
    return request.param


@pytest.fixture
def model(tmp_path, song, pedal) -> Path:
    """A bundle that was trained with that pedal."""
    bundle = music_bundle([read_midi(song)[0]])
    save_bundle(
        Bundle(
            gpt=bundle.gpt,
            sequencer=bundle.sequencer,
            tokenizer_names=bundle.tokenizer_names,
            notes={},
            reading={"pedal": pedal},
        ),
        tmp_path / "model",
    )
    return tmp_path / "model"


def ids(bundle: Bundle, song: Path, pedal: str) -> list[int]:
    return bundle.sequencer.tokenizers["music"].encode(read_midi(song, pedal)[0]).tolist()  # type: ignore[arg-type]


def test_the_pedal_makes_a_difference(song):
    bundle = music_bundle([read_midi(song)[0]])
    assert ids(bundle, song, "extend") != ids(bundle, song, "drop")
    assert bundle.reading == {"pedal": "extend"}


def test_eval_reads_as_the_training_did(model, song, pedal, tmp_path, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    bundle = load_bundle(model)
    assert bundle.reading == {"pedal": pedal}
    prepared, _ = open_folder(bundle, song.parent)
    assert prepared.corpora[0].example(0)["music"].tolist() == ids(bundle, song, pedal)


def test_a_prime_is_read_as_the_training_did(model, song, pedal):
    bundle = load_bundle(model)
    request = Request(prime=song)
    prompt, _ = make_prompt(bundle, choose_layout(bundle, request), request)
    assert prompt.prime.tolist() == ids(bundle, song, pedal)


def test_pieces_that_are_made_are_read_as_the_training_did(model, song, pedal, monkeypatch):
    bundle, seen = load_bundle(model), []

    def read(path: Path, options: MusicOptions) -> tuple[Score, ReadReport]:
        seen.append(options.pedal)
        return read_midi(path, options.pedal)

    monkeypatch.setattr(style_sampler.registry, "for_slot", lambda *_: replace(MUSIC, read_file=read))
    sampler = style_sampler.StyleSampler.of(bundle, bundle.schema.layouts)
    made = sampler._played(Style(), np.array(ids(bundle, song, pedal)))
    assert seen == [pedal]
    assert len(made.score) == 2


def test_tokenize_reads_as_the_training_did(model, song, pedal, capsys):
    assert main(["tokenize", str(song), "--run", str(model)]) == 0
    bundle = load_bundle(model)
    words = [bundle.schema.blocks["music"].tokens[i] for i in ids(bundle, song, pedal)]
    assert capsys.readouterr().out.split()[3:] == words


def test_fine_tuning_reads_as_the_training_did(model, song, pedal):
    def data(**more: str) -> SequenceData:
        return SequenceData(
            sequence_data_config()(path=str(song.parent), layouts=["style[3] music"], init_from=str(model), **more)
        )  # type: ignore[arg-type]

    assert data().source.options["pedal"] == data(pedal=pedal).reading["pedal"] == pedal
    other = "extend" if pedal == "drop" else "drop"
    with pytest.raises(
        DataError, match=f"--data.pedal {other}: .*model was trained on files that are read with {pedal}"
    ):
        data(pedal=other)


def test_a_training_keeps_how_it_read(song):
    def read(layouts: list[str], **options: Any) -> SequenceData:
        return SequenceData(sequence_data_config()(path=str(song.parent), layouts=layouts, **options))

    assert read(["style[3] music"]).reading == {"pedal": "extend"}
    assert read(["style[3] music"], pedal="drop").reading == {"pedal": "drop"}
    assert read(["image[]"], size=8).reading == {"size": 8}
    with pytest.raises(DataError, match=r"--data\.pedal: .*accepted are --data\.size"):
        read(["image[]"], size=8, pedal="drop")


def test_the_encoding_of_a_folder_is_not_the_models(tmp_path):
    def read(layouts: list[str], **options: Any) -> SequenceData:
        return SequenceData(sequence_data_config()(path=str(tmp_path), layouts=layouts, **options))

    for layouts in (["text"], ["text[8] image[]"], ["lyrics[8] music"]):
        data = read(layouts, encoding="cp1251")
        assert "encoding" not in data.reading
        assert data.source.options["encoding"] == "cp1251"
    with pytest.raises(ValueError, match=r"^encoding 'cp9999': auto, or one that Python has"):
        read(["text"], encoding="cp9999")
    with pytest.raises(DataError, match=r"--data\.encoding: .*accepted are --data\.pedal"):
        read(["music"], encoding="cp1251")
    help_text = " ".join(make_parser("gpt").format_help().split())
    assert "--data.encoding ENCODING of texts, captions and manifests that are not UTF-8" in help_text


@dataclass(frozen=True)
class DrumOptions:
    """How drums are read.

    Args:
        grid: steps of a bar.
    """

    grid: int = 16


@dataclass(frozen=True)
class DrumFitting:
    """How drums are learned.

    Args:
        kits: that are told apart.
    """

    kits: int = 4


def test_an_option_of_a_modality_of_ones_own_is_a_flag(tmp_path, monkeypatch):
    drums = replace(MUSIC, name="drums", options=DrumOptions, fitting=DrumFitting, slots=DRUMS)
    monkeypatch.setattr(registry.MODALITIES, "_entries", dict(registry.MODALITIES._entries))
    registry.register_modality(drums)
    help_text = " ".join(make_parser("gpt").format_help().split())
    assert "--data.grid GRID steps of a bar. (type: " in help_text
    assert "pixels each way" in help_text
    base = {"data": {"path": str(tmp_path), "layouts": ["drums"]}}
    assert typed_config(["--data.grid=8"], base) == {"data": {"grid": 8}}
    data = resolve(merge(base, {"data": {"grid": 8}})).make_data()
    assert data.reading == {"grid": 8}
    assert resolve(base).make_data().reading == {"grid": 16}
    learned = resolve(merge(base, {"data": {"kits": 9}})).make_data()
    assert (learned.source.options["kits"], learned.reading) == (9, {"grid": 16})
    assert settled_option("fit", "gpt", ["data.kits"]) == "data.kits"
    for word, said in (("--data.grid=x", "--data.grid: "), ("--data.gird=8", "nearest: --data.grid")):
        with pytest.raises(UsageError, match=said):
            typed_config([word], base)
    with pytest.raises(DataError, match=r"--data\.grid: .*accepted are --data\.pedal"):
        resolve({"data": {"path": "x", "layouts": ["style[3] music"], "grid": 8}}).make_data()
    more = {"more": MUSIC.slots["music"]}
    registry.register_modality(replace(MUSIC, name="more", options=make_dataclass("A", [("seed", int, 0)]), slots=more))
    with pytest.raises(ValueError, match=r"--data\.seed is another option already"):
        make_parser("gpt")


def test_the_size_of_pictures_is_their_tokenizers():
    bundle = image_bundle("text[4] image[]")
    assert bundle.reading == {"size": bundle.sequencer.tokenizers["image"].read_options["size"]}
    with pytest.raises(ValueError, match="reading: size 99, its tokenizer was made for"):
        Bundle(
            gpt=bundle.gpt,
            sequencer=bundle.sequencer,
            tokenizer_names=bundle.tokenizer_names,
            notes={},
            reading={"size": 99},
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.update(format=1), "bundle format 1; this version of helicon reads format 4"),
        (lambda config: config.pop("reading"), "reading"),
        (lambda config: config.update(reading={}), "reading without pedal"),
        (lambda config: config.update(reading={"pedal": "hold"}), "pedal 'hold' is not one of extend, drop"),
        (lambda config: config.update(reading={"pedal": "drop", "magic": 1}), "reading with 'magic'"),
    ],
)
def test_other_options_are_refused_in_one_line(model, change, message):
    config = json.loads((model / CONFIG).read_text(encoding="utf-8"))
    change(config)
    (model / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(BundleError, match=message) as caught:
        load_bundle(model)
    assert str(model / CONFIG) in str(caught.value)
    assert "\n" not in str(caught.value)
