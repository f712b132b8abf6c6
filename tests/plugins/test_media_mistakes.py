"""What a medium or a tokenizer of one's own raises, or gives amiss, is one line with file and line of its own code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands.tiny_bundles import text_bundle

from helicon.bundle.bundle import Bundle
from helicon.data.config import SequenceDataConfig
from helicon.data.prepare import prepare
from helicon.data.prepared import Prepared
from helicon.data.source import DataSource
from helicon.generation.item import Item
from helicon.modalities import registry
from helicon.modalities.guarded import check_any_ids, decode_ids, encode_media
from helicon.plugins.loading import load_plugins
from helicon.plugins.plugin import PluginError
from helicon.tokenizers.sequencer import Sequencer
from helicon.training.learning.data import SequenceData

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
NETWORK = """
import helicon
from helicon.tokenizers.codec import CodecTokenizer
class Net(CodecTokenizer):
    at_level = encode_many = decode_many = None
    def {method}
helicon.register_tokenizer("text", "net", helicon.TokenizerSpec(
    make=lambda: Net(None, 3, {{}}, {{}}, "net"), from_state=lambda state, weights: None, needs_fit=False))
"""
LOSSES = """
import helicon, numpy as np
from helicon.tokenizers.abilities import CountsLosses
class Loss(helicon.Tokenizer, CountsLosses):
    block = helicon.TokenBlock("letters", tuple("abc"))
    encode = decode = None
    def encode_with_report(self, media):
        return np.zeros(1, np.int64)
helicon.register_tokenizer("text", "loss", helicon.TokenizerSpec(
    make=Loss, from_state=lambda state: Loss(), needs_fit=False))
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
    cases = (
        (KEY, r"KeyError: 'k' \(line 9\)$"),
        ("None", "decode gives NoneType; str is needed$"),
        ("5", "decode gives int; str is needed$"),
        ("np.zeros(3)", r"decode gives float64 \[3\]; str is needed$"),
    )
    for decode, said in cases:
        write(home, decode=decode)
        with pytest.raises(PluginError, match=f"^{TOKENIZER}{said}"):  # before any file is encoded
            prepared("text", home)
        with pytest.raises(PluginError, match=f"^{TOKENIZER}{said}"):
            model(home).decode("text", [np.zeros(1, np.int64)])


def test_media_of_a_medium_that_names_no_class_are_anything(home):
    write(home, decode="None")
    with pytest.raises(PluginError, match=f"^{MEDIUM}decode gives NoneType; media are needed$"):
        prepared("steps", home)
    write(home, decode="5")
    assert prepared("steps", home).files == 1


def test_a_tokenizer_that_encodes_no_piece_to_any_id(home):
    write(home, encode="np.zeros(0, np.int64)")
    config = SequenceDataConfig(path="files", layouts=["text"], tokenizer="wrong", cache=str(home / "cache"))
    data = SequenceData(config)
    data.prepare_data()
    with pytest.raises(PluginError, match=f"^{TOKENIZER}encode gives no ids for any piece; one or more are needed$"):
        data.setup("fit")
    check_any_ids("text", "bytes")  # whose files are to blame, which is said elsewhere


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("encode_many(self, media): return None", "TypeError: 'NoneType' object is not iterable"),
        ("encode_many(self, media): return []", "encode_many gives a list of 0 arrays; 1 are needed"),
        ("decode_many(self, ids): return None", "TypeError: 'NoneType' object is not iterable"),
        ("decode_many(self, ids): return ['a', 'b']", "decode_many gives a list of 2 media; 1 are needed"),
        ("decode_many(self, ids): return [1]", "decode gives int; str is needed"),
    ],
)
def test_a_tokenizer_of_a_network_that_gives_amiss(home, method, said):
    (home / "net.py").write_text(NETWORK.format(method=method))
    load_plugins(["net.py"])
    tokenizer = registry.spec("text", "net").fit([])
    call, given = (encode_media, "abc") if method.startswith("encode") else (decode_ids, np.zeros(1, np.int64))
    with pytest.raises(PluginError, match=rf"^tokenizer 'text/net' \(.*net\.py, line 7\): {said}$"):
        call("text", "net", tokenizer, [given])


def test_losses_that_are_counted_amiss(home):
    (home / "loss.py").write_text(LOSSES)
    load_plugins(["loss.py"])
    tokenizer = registry.spec("text", "loss").fit([])
    with pytest.raises(PluginError, match=r"^tokenizer 'text/loss' \(.*loss\.py, line 9\): ValueError: not enough"):
        encode_media("text", "loss", tokenizer, ["abc"])


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
