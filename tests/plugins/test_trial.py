"""A tokenizer of one's own is tried as it is made: what it gives amiss is told before anything is learned."""

from __future__ import annotations

import re

import numpy as np
import pytest

from helicon.data.batches import augmented
from helicon.modalities import registry
from helicon.modalities.guarded import extend_tokenizer, fit_tokenizer
from helicon.plugins.loading import load_plugins
from helicon.plugins.plugin import PluginError
from helicon.sequence.layout import Layout
from helicon.tokenizers.augment import MusicRanges
from helicon.tokenizers.sequencer import Sequencer

PLUGIN = """
import helicon, numpy as np, torch
from helicon.tokenizers.abilities import Augmentable, Words

class Automaton:
    rate = None
    axes = {"step": 8}
    def constrain(self, state, tokens=None, **wishes):
        return state
    def start(self, batch):
        return START
    def allowed(self, state):
        return ALLOWED
    def step(self, state, ids_B):
        return STEP
    def coords(self, state):
        return COORDS
    def scan(self, ids_T, plan=True):
        return SCAN
    def position(self, coords, origin):
        return POSITION

class Letters(helicon.Tokenizer, Augmentable, Words):
    block = BLOCK
    automaton = Automaton()
    def encode(self, media):
        return np.array(["abc".index(each) for each in media], np.int64)
    def decode(self, ids):
        return "".join("abc"[i] for i in ids)
    def parse(self, text):
        return text
    def drop(self, ids, rng, p):
        return DROP
    def augment(self, ids, augmentation):
        return AUGMENT
    def state(self):
        return STATE
    def units(self, ids):
        return UNITS

def make(surveys):
    return MAKE

def restore(state):
    return RESTORE

def grow(tokenizer, surveys):
    return GROW

SPEC = helicon.TokenizerSpec(make=make, from_state=restore, extend_vocabulary=grow)
helicon.register_tokenizer("text", "letters", SPEC)
"""
PARTS = {
    "START": "{'n': torch.zeros(batch, dtype=torch.int64)}",
    "ALLOWED": "torch.ones(len(state['n']), 4, dtype=torch.bool)",
    "STEP": "{'n': state['n'] + 1}", "COORDS": "{'step': state['n']}", "SCAN": "{'step': np.arange(1, len(ids_T) + 1)}",
    "POSITION": "{'step': (coords['step'] - origin['step']).clip(0, 7)}",
    "BLOCK": "helicon.TokenBlock('letters', tuple('abc'))",
    "DROP": "ids[:0]", "AUGMENT": "ids", "STATE": "{'all': 'abc'}", "UNITS": "{'letter': len(ids)}",
    "MAKE": "Letters()", "RESTORE": "Letters()", "GROW": "tokenizer",
}  # fmt: skip
KEY = "{}['k']"
IDS = r"int64 \[T\] from 0 to 2 is needed$"
AMISS = (
    ("MAKE", KEY, r"KeyError: 'k' \(line LINE\)$"),
    ("MAKE", "None", r"make gives NoneType; a helicon\.Tokenizer is needed$"),
    ("BLOCK", "'abc'", r"its block is str; a helicon\.TokenBlock of at least one token"),
    ("BLOCK", "helicon.TokenBlock('letters', ())", r"its block is TokenBlock; a helicon\.TokenBlock of at least one"),
    ("STATE", KEY, r"KeyError: 'k' \(line LINE\)$"),
    ("STATE", "{'all': {1, 2}}", r"state gives what is no JSON \(Object of type set is not JSON"),
    ("STATE", "['abc']", "state gives list; a dict is needed$"),
    ("RESTORE", "state['none']", r"KeyError: 'none' \(line LINE\)$"),
    ("RESTORE", "None", r"from_state gives NoneType; a helicon\.Tokenizer is needed$"),
    ("STATE", "{'all': id(self)}", "from_state gives another tokenizer than the one whose state it gets$"),
    ("UNITS", "len(ids)", "units gives 1; a dict of numbers is needed$"),
    ("UNITS", "{'letter': 'a'}", "units gives {'letter': 'a'}; a dict"),
    ("DROP", "None", f"drop gives NoneType; {IDS}"),
    ("DROP", KEY, r"KeyError: 'k' \(line LINE\)$"),
    ("START", KEY, r"KeyError: 'k' \(line LINE\)$"),
    (
        "START",
        "{'n': torch.zeros(1)}",
        r"its automaton starts with n: torch\.float32 \[1\]; tensors by name, \[B",
    ),
    ("START", "[3]", "its automaton starts with list; tensors by name"),
    (
        "ALLOWED",
        "torch.ones(len(state['n']), 3)",
        r"its automaton allows torch\.float32 \[2, 3\]; torch\.bool \[2",
    ),
    ("ALLOWED", "torch.zeros(len(state['n']), 4) > 1", "its automaton allows no token to begin with$"),
    (
        "STEP",
        "{'n': state['n'][0]}",
        r"its automaton steps from n: torch\.int64 \[2\] to n: torch\.int64 \[\];",
    ),
    ("STEP", "None", r"its automaton steps from n: torch\.int64 \[2\] to NoneType; the same"),
    ("COORDS", "{'step': 1}", r"coords of its automaton are step: int; torch\.int64 \[2\] by name are needed$"),
    ("SCAN", "{}", "scan of its automaton gives nothing; its coords are step$"),
    ("SCAN", KEY, r"KeyError: 'k' \(line LINE\)$"),
    ("POSITION", "{}", "position of its automaton gives nothing; step is needed, too$"),
)


def line(text: str) -> int:
    """Of the plugin, the first that has a text."""
    return 1 + next(number for number, each in enumerate(PLUGIN.split("\n")) if text in each)


PLACE = rf"^tokenizer 'text/letters' \({{}}/mine\.py, line {line('helicon.register')}\): "


def load(home, **parts: str) -> None:
    text = re.sub("|".join(PARTS), lambda name: {**PARTS, **parts}[name[0]], PLUGIN)
    (home / "mine.py").write_text(text)
    load_plugins(["mine.py"])


def test_what_is_right_passes(home):
    load(home)
    tokenizer = fit_tokenizer("text", "letters", [], {})
    assert extend_tokenizer("text", "letters", tokenizer, []) is tokenizer


@pytest.mark.parametrize(("part", "body", "said"), AMISS)
def test_what_is_given_amiss(home, part, body, said):
    load(home, **{part: body})
    with pytest.raises(PluginError, match=PLACE.format(home) + said.replace("LINE", str(line(part)))):
        fit_tokenizer("text", "letters", [], {})


def test_a_method_of_another_signature(home):
    (home / "mine.py").write_text("")
    load(home)
    text = (home / "mine.py").read_text().replace("def state(self):", "def state(self, more):")
    (home / "mine.py").write_text(text)
    load_plugins(["mine.py"])
    with pytest.raises(PluginError, match=PLACE.format(home) + r"TypeError: Letters\.state\(\) missing 1 required"):
        fit_tokenizer("text", "letters", [], {})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("make(surveys)", "make()", r"TypeError: make is called as make\(surveys\): too many positional"),
        ("make(surveys)", "make(surveys, size)", r"TypeError: make is called as make\(surveys\): missing a required"),
        ("restore(state)", "restore()", r"TypeError: from_state is called as from_state\(state, weights\): too many"),
        ("make=make", "make=3", "TypeError: make is int; a function is accepted$"),
    ],
)
def test_what_is_called_otherwise_is_refused_as_it_is_loaded(home, old, new, said):
    text = re.sub("|".join(PARTS), lambda name: PARTS[name[0]], PLUGIN).replace(old, new)
    (home / "mine.py").write_text(text)
    with pytest.raises(PluginError, match=rf"^{home}/mine\.py, line {line('SPEC =')}: {said}"):
        load_plugins(["mine.py"])


def test_what_comes_later(home):
    """Tokens that are added, a tokenizer that comes back, changes in training."""
    load(home, GROW="None", RESTORE=KEY, AUGMENT="None")
    tokenizer = registry.spec("text", "letters").fit([])
    with pytest.raises(PluginError, match=PLACE.format(home) + r"extend_vocabulary gives NoneType; a helicon\.Tok"):
        extend_tokenizer("text", "letters", tokenizer, [])
    with pytest.raises(PluginError, match=PLACE.format(home) + rf"KeyError: 'k' \(line {line('RESTORE')}\)$"):
        registry.restore_tokenizer("text", "letters", {"all": "abc"})
    ids, sequencer = {"text": np.zeros(2, np.int64)}, Sequencer([Layout.parse("text")], {"text": tokenizer}, 8)
    with pytest.raises(
        PluginError, match=rf"^{home}/mine\.py, line {line('def augment')}: augment gives NoneType; {IDS}"
    ):
        augmented(sequencer, ids, np.random.default_rng(0), {"text": MusicRanges()})
