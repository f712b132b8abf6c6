"""What a medium or a tokenizer of one's own raises, or gives amiss, is one line with file and line of its own code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands.tiny_bundles import text_bundle

from helicon.bundle.bundle import Bundle
from helicon.data.prepare import prepare
from helicon.data.prepared import Prepared
from helicon.data.source import DataSource
from helicon.generation.item import Item
from helicon.modalities import registry
from helicon.plugins.loading import load_plugins
from helicon.plugins.plugin import PluginError
from helicon.tokenizers.sequencer import Sequencer

PLUGIN = """
import helicon, numpy as np

class Letters(helicon.Tokenizer):
    block = helicon.TokenBlock("letters", tuple("abc"))
    def encode(self, media):
        return {encode}
    def decode(self, ids):
        return {decode}

def make():
    return {make}

def read(path):
    {read}

def write(media, path):
    path.write_text({write})

spec = helicon.TokenizerSpec(make=make, from_state=lambda state: Letters(), needs_fit=False)
helicon.register_tokenizer("text", "wrong", spec)
slots = {{"steps": {{"s": spec}}}}
steps = helicon.Modality(name="steps", suffixes=(".steps",), read_file=read, write=write, slots=slots)
helicon.register_modality(steps)
"""
PARTS = {
    "encode": "np.array(['abc'.index(each) for each in media], np.int64)", "decode": "''.join('abc'[i] for i in ids)",
    "make": "Letters()", "read": "return path.read_text(), helicon.ReadReport()", "write": "media",
}  # fmt: skip
KEY = "{}['k']"
NEEDED = r"int64 \[T\] from 0 to 2 is needed$"
TOKENIZER, MEDIUM = r"tokenizer 'text/wrong' \(.*wrong\.py, line 21\): ", r"modality 'steps' \(.*wrong\.py, line 24\): "
ENCODED = (
    (KEY, r"KeyError: 'k' \(line 7\)$"),
    ("[0]", f"encode gives list; {NEEDED}"),
    ("np.array([0.5])", rf"encode gives float64 \[1\]; {NEEDED}"),
    ("np.zeros((1, 2), np.int64)", rf"encode gives int64 \[1, 2\]; {NEEDED}"),
    ("np.array([0, 3])", f"encode gives ids from 0 to 3; {NEEDED}"),
    ("np.array([-1, 0])", f"encode gives ids from -1 to 0; {NEEDED}"),
)


def write(home: Path, **parts: str) -> None:
    """The plugin with some of its parts, and a file of each medium."""
    (home / "wrong.py").write_text(PLUGIN.format(**{**PARTS, **parts}))
    load_plugins(["wrong.py"])
    for suffix in ("txt", "steps"):
        (home / "files").mkdir(exist_ok=True)
        (home / "files" / f"a.{suffix}").write_text("abc")


def prepared(layout: str, home: Path) -> Prepared:
    source = DataSource(path=Path("files"), layouts=(layout,), tokenizers={"text": "wrong"} if layout == "text" else {})
    return prepare(replace(source, cache=home / "cache"), processes=1)


def model(home: Path) -> Bundle:
    """One whose text has the tokenizer of the plugin."""
    plain = text_bundle()
    tokenizers = {"text": registry.spec("text", "wrong").fit([])}
    sequencer = Sequencer(plain.schema.layouts, tokenizers, 16)
    return Bundle(gpt=plain.gpt, sequencer=sequencer, tokenizer_names={"text": "wrong"})


@pytest.mark.parametrize(("encode", "said"), ENCODED)
def test_a_tokenizer_that_encodes_amiss(home, encode, said):
    write(home, encode=encode)
    for layout, file, thing in (("text", "a.txt", TOKENIZER), ("steps", "a.steps", MEDIUM)):
        with pytest.raises(PluginError, match=f"^{file}: {thing}{said}"):
            prepared(layout, home)
    with pytest.raises(PluginError, match=f"^{TOKENIZER}{said}"):
        model(home).encode("text", "abc")


def test_a_tokenizer_that_decodes_amiss(home):
    for decode, said in ((KEY, r"KeyError: 'k' \(line 9\)$"), ("None", "decode gives None; media are needed$")):
        write(home, decode=decode)
        with pytest.raises(PluginError, match=f"^{TOKENIZER}{said}"):
            model(home).decode("text", [np.zeros(1, np.int64)])


def test_a_tokenizer_that_cannot_be_made(home):
    write(home, make=KEY)
    with pytest.raises(PluginError, match=rf"^{TOKENIZER}KeyError: 'k' \(line 12\)$"):
        prepared("text", home)


@pytest.mark.parametrize(
    ("read", "said"),
    [
        ("{}['k']", r"KeyError: 'k' \(line 15\)$"),
        ("return 'abc'", r"read_file gives str; \(media, helicon\.ReadReport\) are needed$"),
        ("return 'abc', 3", "read_file gives tuple; "),
    ],
)
def test_a_medium_that_is_read_amiss(home, read, said):
    write(home, read=read)
    with pytest.raises(PluginError, match=rf"^files/a\.steps: {MEDIUM}{said}"):
        prepared("steps", home)


def test_a_bad_file_is_passed_over_as_ever(home):
    write(home, read="return (path.read_text() or int('x'), helicon.ReadReport())")
    (home / "files" / "bad.steps").write_text("")
    found = prepared("steps", home)
    assert found.files == 1
    assert list(found.skipped.values()) == ["invalid literal for int() with base 10: 'x'"]


@pytest.mark.parametrize(
    ("written", "said"),
    [(KEY, r"KeyError: 'k' \(line 18\)$"), ("media) if not media else (0", r"write gives no file a\.steps$")],
)
def test_a_medium_that_is_written_amiss(home, written, said):
    write(home, write=written)
    item = Item(number=0, media="abc", ids=np.zeros(3, np.int64), modality=registry.get("steps"))
    with pytest.raises(PluginError, match=rf"^{MEDIUM}{said}"):
        item.save(home / "a.steps")
