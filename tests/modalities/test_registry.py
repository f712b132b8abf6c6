"""Modalities are found by name and by slot, and one of a user's own takes one short file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helicon.formats.read_report import ReadReport
from helicon.modalities import registry
from helicon.modalities.base import Modality, TokenizerSpec
from helicon.modalities.guarded import fit_tokenizer
from helicon.plugins.plugin import PluginError
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.codec import encode_all


class Directions(Tokenizer[str]):
    """Moves on a map, `N`, `E`, `S`, `W`: the smallest tokenizer there is."""

    block = TokenBlock("moves", ("N", "E", "S", "W"))

    def encode(self, media: str) -> np.ndarray:
        return np.array([self.block.index[c] for c in media], np.int64)

    def decode(self, ids: np.ndarray) -> str:
        return "".join(self.block.tokens[i] for i in ids)


def read_moves(path: Path) -> tuple[str, ReadReport]:
    return path.read_text().strip(), ReadReport()


MOVES = Modality(
    name="moves",
    suffixes=(".moves",),
    read_file=read_moves,
    write=lambda media, path: path.write_text(media) and None,
    slots={"moves": {"plain": TokenizerSpec(make=lambda surveys: Directions(), from_state=lambda state: Directions())}},
)


@pytest.fixture
def moves(monkeypatch):
    monkeypatch.setattr(registry.MODALITIES, "_entries", dict(registry.MODALITIES._entries))
    return registry.register_modality(MOVES)


def test_built_in_modalities_are_found():
    assert {"audio", "image", "label", "lyrics", "music", "text"} <= set(registry.all_modalities())
    assert registry.get("music").suffixes[0] == ".mid"
    assert registry.for_slot("music").name == "music"


@pytest.mark.parametrize(
    ("beside", "name"),
    [
        (["style", "music"], "music"), (["text", "style", "music"], "music"), (["style", "music", "audio"], "music"),
        (["lyrics", "style", "audio"], "label"), (["style", "image"], "label"), (["style", "text"], "label"),
        (["style"], "label"), ([], "label"),
    ],
)  # fmt: skip
def test_a_style_is_a_label_unless_music_is_beside_it(beside, name):
    assert registry.for_slot("style", beside).name == name
    assert registry.for_slot("style", iter(beside)).name == name


def test_a_slot_of_several_media_needs_another_beside_it(moves):
    plain = moves.slots["moves"]
    registry.register_modality(replace(moves, name="walks", slots={"style": plain, "shoes": plain}))
    assert registry.for_slot("style", ["style", "shoes"]).name == "walks"
    with pytest.raises(ValueError, match=r"slot 'style' is of music and of walks: another slot .*\(music, .*shoes\)"):
        registry.for_slot("style", ["style", "shoes", "music"])
    with pytest.raises(
        PluginError, match=r"test_registry\.py, line \d+: modality 'walks': its slot 'moves' is one of mod"
    ):
        registry.register_modality(replace(moves, name="walks"))


def test_tokenizers_of_a_slot_are_found_whatever_their_medium(tmp_path):
    assert registry.spec("style", "style") is registry.get("music").slots["style"]["style"]
    assert registry.spec("style", "labels") is registry.get("label").slots["style"]["labels"]
    assert sorted(registry.specs("style")) == ["labels", "style"]
    labels = registry.restore_tokenizer("style", "labels", {"block": "style", "labels": ["bell"]})
    assert labels.block.tokens[0] == "bell"
    assert registry.open_tokenizer("style", tmp_path) is None
    with pytest.raises(ValueError, match="unknown tokenizer for style 'label'; nearest: labels"):
        registry.spec("style", "label")


def test_names_that_are_not_known():
    with pytest.raises(ValueError, match="'musik'; nearest: music"):
        registry.get("musik")
    with pytest.raises(ValueError, match="unknown slot 'txt'; nearest: text"):
        registry.for_slot("txt")
    with pytest.raises(ValueError, match="unknown tokenizer for text 'bp'; nearest: bpe"):
        registry.spec("text", "bp")


def test_a_modality_of_ones_own(moves, tmp_path):
    path = tmp_path / "a.moves"
    moves.write("NNES", path)
    media, counts = registry.for_slot("moves").read(path, label="trips", options={"pedal": "drop"})
    kind = registry.spec("moves", "plain")
    tokenizer = kind.from_state(json.loads(json.dumps(kind.fit([moves.survey(media)], vocabulary_size=3).state())))
    ((ids, lost),) = encode_all(tokenizer, [media])
    assert (media, counts, ids.tolist(), lost) == ("NNES", {}, [0, 0, 1, 2], {})
    assert moves.join({"moves": tokenizer.decode(ids)}) == "NNES"
    assert moves.documents(media) == ["NNES"]
    assert moves.preview(media, path) == []
    assert kind.extend_vocabulary is None
    with pytest.raises(ValueError, match="moves is not made from text"):
        moves.from_text("north")
    with pytest.raises(ValueError, match="only all of it"):
        moves.keep(media, "0.5")


def test_what_is_no_tokenizer_is_refused(moves):
    class Alike:
        encode, decode = Directions.encode, Directions.decode

    spec = TokenizerSpec(make=lambda surveys: Alike(), from_state=lambda state: Alike())  # type: ignore[arg-type, return-value]
    registry.register_modality(replace(moves, name="walks", slots={"walks": {"plain": spec}}))
    with pytest.raises(PluginError, match=r"^modality 'walks' \(.*\): make gives Alike; a helicon"):
        fit_tokenizer("walks", "plain", [], {})
