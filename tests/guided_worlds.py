"""Small stand-ins for tokens of sound at a constant rate and for long texts that slide, which tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.formats.read_report import ReadReport
from helicon.gpt.model import GPT, GPTConfig
from helicon.modalities import registry
from helicon.modalities.base import Modality, TokenizerSpec
from helicon.sequence.layout import Layout
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.abilities import Sliding
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.timing import TimeAutomaton


class Tones(Tokenizer[str]):
    """Tokens at a constant rate, as codes of a codec are: the digits of a text, or every `step`-th of them."""

    def __init__(self, size: int, rate: float, step: int = 1) -> None:
        self.step = step
        self.block = TokenBlock("tones", tuple(map(str, range(size))))
        self.automaton = TimeAutomaton(size, rate)

    def encode(self, media: str) -> np.ndarray:
        return np.array([int(digit) % len(self.block) for digit in media[:: self.step]], np.int64)

    def decode(self, ids: np.ndarray) -> str:
        return "".join(str(i) * self.step for i in ids)


class Letters(Tokenizer[str]):
    """a to e, as words that say what is wanted."""

    block = TokenBlock("letters", tuple("abcde"))

    def encode(self, media: str) -> np.ndarray:
        return np.array([self.block.index[letter] for letter in media], np.int64)

    def decode(self, ids: np.ndarray) -> str:
        return "".join(self.block.tokens[i] for i in ids)


class Verses(Letters, Sliding):
    """A long text: its letters are spread evenly over a piece, and those from a window's beginning on are shown.

    told: (begin, end, total) in seconds of each time it was asked.
    """

    def __init__(self) -> None:
        self.told: list[tuple[float, float, float]] = []

    def slide(self, ids: np.ndarray, begin_s: float, end_s: float, total_s: float, length: int) -> np.ndarray:
        self.told.append((begin_s, end_s, total_s))
        first, end = (round(len(ids) * moment / total_s) for moment in (begin_s, end_s))
        return ids[first:end][:length]


FINE, COARSE = 8.0, 2.0  # tokens a second: 4 of `audio` at each of `above`


def tokenizers() -> dict:
    """Of five fine tones and three coarse ones, a word and a text."""
    return {"audio": Tones(5, FINE), "above": Tones(3, COARSE), "text": Letters(), "lyrics": Verses()}


def sequencer_of(*layouts: str, context: int = 12, positions: str = "flat") -> Sequencer:
    """With tokenizers of just the slots that the layouts ask for."""
    parsed = [Layout.parse(spec) for spec in layouts]
    known = tokenizers()
    return Sequencer(parsed, {slot: known[slot] for y in parsed for slot in y.all_slots}, context, positions)


def model(*layouts: str, context: int = 12, pattern: str = "dense", positions: str = "flat") -> tuple[Sequencer, GPT]:
    """Weights large enough that everything depends on everything, in float64."""
    sequencer = sequencer_of(*layouts, context=context, positions=positions)
    torch.manual_seed(3)
    gpt = make_gpt(GPTConfig(layers=2, width=32, heads=2, pattern=pattern), sequencer.schema).double()
    for parameter in gpt.parameters():
        parameter.data.mul_(8 if parameter.dim() > 1 else 1)
    return sequencer, gpt


def read_text(path: Path) -> tuple[str, ReadReport]:
    return path.read_text(), ReadReport()


def write_text(media: str, path: Path) -> None:
    path.write_text(media)


def spec(make: Callable[[], Tokenizer]) -> TokenizerSpec:
    """Of a tokenizer that is the same whatever it is fitted on."""
    return TokenizerSpec(make=lambda surveys: make(), from_state=lambda state: make())


TONES = Modality(
    name="tones", suffixes=(".tones",), read_file=read_text, write=write_text,
    slots={"fine": {"tones": spec(lambda: Tones(5, FINE))}, "coarse": {"tones": spec(lambda: Tones(3, COARSE, 4))}},
)  # fmt: skip
VERSES = Modality(
    name="verses", suffixes=(".verses",), read_file=read_text, write=write_text, typed=str,
    slots={"verse": {"verses": spec(Verses)}, "words": {"letters": spec(Letters)}},
)  # fmt: skip


def model_of_media(*layouts: str) -> Bundle:
    """An untrained model of slots of these media, which sees 8 tokens or a few more."""
    parsed = [Layout.parse(spec) for spec in layouts]
    slots = {slot for layout in parsed for slot in layout.all_slots}
    choices = {slot: next(iter(registry.for_slot(slot).slots[slot])) for slot in slots}
    fitted = {slot: registry.spec(slot, choices[slot]).fit([]) for slot in slots}
    sequencer = Sequencer(parsed, fitted, 12)
    torch.manual_seed(1)
    gpt = make_gpt(GPTConfig(layers=1, width=16, heads=2), sequencer.schema)
    return Bundle(gpt=gpt, sequencer=sequencer, tokenizer_names=choices)


@pytest.fixture
def media(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers both for one test."""
    monkeypatch.setattr(registry.MODALITIES, "_entries", dict(registry.MODALITIES._entries))
    for modality in (TONES, VERSES):
        registry.register_modality(modality)
