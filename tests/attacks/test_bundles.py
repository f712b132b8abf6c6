"""Bundles of strangers: whatever their JSON, headers and folders claim, loading ends soon, in one line of ours."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from attacks.harness import attempt, posix, put

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.storage import CONFIG, WEIGHTS, load_bundle, save_bundle
from helicon.gpt.config import GPTConfig
from helicon.sequence.layout import Layout
from helicon.tokenizers.instruments import MUSENET
from helicon.tokenizers.labels import LabelTokenizer
from helicon.tokenizers.midi import MidiTokenizer
from helicon.tokenizers.mulaw import MulawTokenizer
from helicon.tokenizers.palette import PaletteTokenizer
from helicon.tokenizers.pcm import PcmTokenizer
from helicon.tokenizers.rgb import RgbTokenizer
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.style import StyleTokenizer, all_sets
from helicon.tokenizers.text import BpeTokenizer, BytesTokenizer, NumbersTokenizer

pytestmark = posix

HUGE = 10**9
COLOURS = torch.linspace(-1, 1, 12).view(4, 3).numpy()
KINDS: dict[str, tuple[str, dict[str, tuple[str, Any]]]] = {  # layout, and slot -> name and tokenizer
    "text": ("text", {"text": ("bpe", BpeTokenizer.train(["ode to joy, ode to joy"], 262))}),
    "bytes": ("text", {"text": ("bytes", BytesTokenizer())}),
    "numbers": ("text", {"text": ("numbers", NumbersTokenizer(20, [3]))}),
    "palette": ("image[4x4]", {"image": ("palette", PaletteTokenizer(COLOURS, 4))}),
    "rgb": ("image[2x2x3]", {"image": ("rgb", RgbTokenizer(2))}),
    "mulaw": (
        "style[1] audio", {"style": ("labels", LabelTokenizer(["a"])), "audio": ("mulaw", MulawTokenizer(8000))},
    ),
    "pcm": ("audio", {"audio": ("pcm", PcmTokenizer(8000))}),
    "music": (
        "style[3] music",
        {
            "style": ("style", StyleTokenizer(MUSENET, ["bach"], all_sets(MUSENET)[:3])),
            "music": ("musenet", MidiTokenizer(MUSENET)),
        },
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Path:
    """A folder with an untrained bundle of each kind."""
    folder = tmp_path_factory.mktemp("bundles")
    for name, (layout, tokenizers) in KINDS.items():
        sequencer = Sequencer([Layout.parse(layout)], {slot: each for slot, (_, each) in tokenizers.items()}, 32)
        gpt = make_gpt(GPTConfig(layers=2, width=8, heads=2), sequencer.schema)
        save_bundle(
            Bundle(
                gpt=gpt, sequencer=sequencer, tokenizer_names={slot: kind for slot, (kind, _) in tokenizers.items()}
            ),
            folder / name,
        )
        load_bundle(folder / name)  # once here, so that what is imported by it is there in each fork
    return folder


def changed(bundles: Path, target: Path, kind: str, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy of a bundle whose JSON was changed in place, or is what `change` gives: an object, text or bytes."""
    shutil.copytree(bundles / kind, target)
    config = json.loads((target / CONFIG).read_text(encoding="utf-8"))
    config = change(config) or config
    text = config if isinstance(config, str) else json.dumps(config)
    (target / CONFIG).write_text(text, encoding="utf-8")
    return target


def state(*keys: Any, slot: str = "text") -> Callable[[dict[str, Any]], None]:
    return put("tokenizers", slot, "state", *keys)


def bpe(*keys: Any) -> Callable[[dict[str, Any]], None]:
    return state("bpe", *keys)


def levels(config: dict[str, Any]) -> None:
    """An instrument of many volumes: 128 tokens each."""
    for slot, table in (("music", ()), ("style", ("table",))):
        where = config["tokenizers"][slot]["state"]
        for key in table:
            where = where[key]
        where["instruments"][0][2] = [0, *range(1, 300_000)]


DOUBLING = {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": " "}, "content": "  "}] * 40}
BACKTRACKING = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "(a|a?)+$"}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}
PADDING = {
    "strategy": {"Fixed": HUGE}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
    "pad_token": "a",
}  # fmt: skip

JSONS: dict[str, tuple[str, Any]] = {  # kind of bundle, change
    "layers null": ("text", put("gpt", "layers", None)),
    "layers 1e9": ("text", put("gpt", "layers", HUGE)),
    "layers 3": ("text", put("gpt", "layers", 3)),
    "layers -1": ("text", put("gpt", "layers", -1)),
    "layers true": ("text", put("gpt", "layers", True)),
    "layers text": ("text", put("gpt", "layers", "2")),
    "layers 2.0": ("text", put("gpt", "layers", 2.0)),
    "layers list": ("text", put("gpt", "layers", [2])),
    "width 4e9": ("text", put("gpt", "width", 4 * HUGE)),
    "width 0": ("text", put("gpt", "width", 0)),
    "width null": ("text", put("gpt", "width", None)),
    "heads 0": ("text", put("gpt", "heads", 0)),
    "heads -2": ("text", put("gpt", "heads", -2)),
    "heads huge": ("text", put("gpt", "heads", HUGE)),
    "heads 1.5": ("text", put("gpt", "heads", 1.5)),
    "dropout text": ("text", put("gpt", "dropout", "none")),
    "dropout 2": ("text", put("gpt", "dropout", 2)),
    "dropout null": ("text", put("gpt", "dropout", None)),
    "mlp unknown": ("text", put("gpt", "mlp", "x" * 100_000)),
    "mlp list": ("text", put("gpt", "mlp", ["gelu"])),
    "norm unknown": ("text", put("gpt", "norm", "batch")),
    "norm null": ("text", put("gpt", "norm", None)),
    "tied text": ("text", put("gpt", "tied", "no")),
    "bias null": ("text", put("gpt", "bias", None)),
    "mlp_ratio 1e300": ("text", put("gpt", "mlp_ratio", 1e300)),
    "mlp_ratio text": ("text", put("gpt", "mlp_ratio", "4")),
    "qk_ratio null": ("text", put("gpt", "qk_ratio", None)),
    "attention_ratio 1e18": ("text", put("gpt", "attention_ratio", 1e18)),
    "shape null": ("text", put("gpt", None)),
    "shape list": ("text", put("gpt", [2, 8, 2])),
    "shape unknown": ("text", put("gpt", "x" * 100_000, 1)),
    "pattern null": ("text", put("gpt", "pattern", None)),
    "pattern of spaces": ("text", put("gpt", "pattern", " " * 3000 + "(")),
    "pattern spaces and item": ("text", put("gpt", "pattern", "dense" + " " * 3000 + "(")),
    "pattern 1 MB": ("text", put("gpt", "pattern", "x" * 1_000_000)),
    "pattern digits": ("text", put("gpt", "pattern", "local:1" + "0" * 5000)),
    "pattern repeats": ("text", put("gpt", "pattern", "(dense,dense)*" + "9" * 5000)),
    "pattern commas": ("text", put("gpt", "pattern", "dense" + ",dense" * 300_000)),
    "pattern numbers": ("text", put("gpt", "pattern", "fixed:1" + ",1" * 300_000)),
    "context Infinity": ("text", put("context", float("inf"))),
    "context 1e12": ("text", put("context", 10**12)),
    "context text": ("text", put("context", "32")),
    "context null": ("text", put("context", None)),
    "context -1": ("text", put("context", -1)),
    "positions null": ("text", put("positions", None)),
    "positions digits": ("text", put("positions", "grid:" + "9" * 5000)),
    "positions 1 MB": ("text", put("positions", "x" * 1_000_000)),
    "layouts 1e4": ("text", put("layouts", ["text"] * 10_000)),
    "layouts 1e5 different": ("text", put("layouts", [f"text[{n}]" for n in range(1, 100_000)])),
    "layouts null": ("text", put("layouts", None)),
    "layouts numbers": ("text", put("layouts", [1])),
    "layouts empty": ("text", put("layouts", [])),
    "layout 1 MB": ("text", put("layouts", ["text " * 200_000])),
    "layout word 1 MB": ("text", put("layouts", ["x" * 1_000_000])),
    "layout brackets": ("text", put("layouts", ["text[" + "1x" * 300_000 + "1]"])),
    "layout digits": ("text", put("layouts", ["text[" + "9" * 5000 + "]"])),
    "layout 1e9": ("text", put("layouts", [f"text[{HUGE}]"])),
    "layout control": ("text", put("layouts", ["\x1b]0;pwn\x07\u202e"])),
    "tokenizers null": ("text", put("tokenizers", None)),
    "tokenizers 1e5": ("text", put("tokenizers", {f"s{n}": {"name": "bytes", "state": {}} for n in range(100_000)})),
    "tokenizer name 1 MB": ("text", put("tokenizers", "text", "name", "x" * 1_000_000)),
    "tokenizer name null": ("text", put("tokenizers", "text", "name", None)),
    "slot 1 MB": ("text", put("tokenizers", "x" * 1_000_000, {"name": "bytes", "state": {"block": "x"}})),
    "state null": ("text", put("tokenizers", "text", "state", None)),
    "state list": ("text", put("tokenizers", "text", "state", [])),
    "block 1 MB": ("bytes", state("block", "x" * 1_000_000)),
    "block list": ("bytes", state("block", ["text"])),
    "numbers 1e9": ("numbers", state("size", HUGE)),
    "numbers -1": ("numbers", state("size", -1)),
    "numbers text": ("numbers", state("size", "20")),
    "numbers Infinity": ("numbers", state("size", float("inf"))),
    "without lists": ("numbers", state("without", [[1], [2]])),
    "without text": ("numbers", state("without", "1" * 1_000_000)),
    "size of palette": ("palette", state("size", HUGE, slot="image")),
    "size of palette null": ("palette", state("size", None, slot="image")),
    "size of palette text": ("palette", state("size", "4", slot="image")),
    "centroids many": ("palette", state("centroids", [[0, 0, 0]] * 600_000, slot="image")),
    "centroids texts": ("palette", state("centroids", [["0"] * 3] * 4, slot="image")),
    "centroids ragged": ("palette", state("centroids", [[0, 0, 0], [0]], slot="image")),
    "centroids deep": ("palette", state("centroids", json.loads("[" * 500 + "]" * 500), slot="image")),
    "centroids null": ("palette", state("centroids", [[None] * 3] * 4, slot="image")),
    "size of rgb": ("rgb", state("size", HUGE, slot="image")),
    "size of rgb 1e7": ("rgb", lambda c: (state("size", 10**7, slot="image")(c), c.update(layouts=["image[]"]))[2:]),
    "size of rgb digits": ("rgb", state("size", 10**4000, slot="image")),
    "rate 0": ("mulaw", state("rate", 0, slot="audio")),
    "rate 1e9": ("mulaw", state("rate", HUGE, slot="audio")),
    "rate text": ("mulaw", state("rate", "8000", slot="audio")),
    "rate Infinity": ("mulaw", state("rate", float("inf"), slot="audio")),
    "rate 1e-300": ("mulaw", state("rate", 1e-300, slot="audio")),
    "channels 1e9": ("pcm", state("channels", HUGE, slot="audio")),
    "channels list": ("pcm", state("channels", [1], slot="audio")),
    "labels 1e6": ("mulaw", state("labels", [f"a{n}" for n in range(10**6)], slot="style")),
    "labels numbers": ("mulaw", state("labels", [1, 2], slot="style")),
    "labels text": ("mulaw", state("labels", "x" * 1_000_000, slot="style")),
    "labels null": ("mulaw", state("labels", None, slot="style")),
    "labels of marks": ("music", state("labels", ["\u0301\u0316" * 100_000], slot="style")),
    "sets equal": ("music", state("sets", ["piano"] * 20_000, slot="style")),
    "sets numbers": ("music", state("sets", [1], slot="style")),
    "tempos text": ("music", state("tempos_bpm", "x", slot="style")),
    "tempos 1e6": ("music", state("tempos_bpm", list(range(10**6)), slot="style")),
    "tempos digits": ("music", state("tempos_bpm", [10**4000], slot="style")),
    "volumes many": ("music", levels),
    "program huge": ("music", state("instruments", 0, 1, [HUGE], slot="music")),
    "program negative": ("music", state("instruments", 0, 1, [-HUGE], slot="music")),
    "program text": ("music", state("instruments", 0, 1, "abc", slot="music")),
    "instrument name number": ("music", state("instruments", 0, 0, 1, slot="music")),
    "instruments null": ("music", state("instruments", None, slot="music")),
    "instruments many": ("music", state("instruments", [["a", [1], [0, 80], "b"]] * 100_000, slot="music")),
    "groups many": ("music", state("groups", ["piano"] * 1_000_000, slot="music")),
    "bpe null": ("text", state("bpe", None)),
    "bpe type": ("text", bpe("model", "type", "WordPiece")),
    "bpe id 1e18": ("text", bpe("model", "vocab", "!", 10**18)),
    "bpe id 4e9": ("text", bpe("model", "vocab", "!", 4 * HUGE)),
    "bpe id twice": ("text", bpe("model", "vocab", "!", 1)),
    "bpe normalizer that doubles": ("text", bpe("normalizer", DOUBLING)),
    "bpe regular expression": ("text", bpe("pre_tokenizer", BACKTRACKING)),
    "bpe padding": ("text", bpe("padding", PADDING)),
    "bpe truncation": ("text", bpe("truncation", {"direction": "Right", "max_length": 0, "strategy": "LongestFirst"})),
    "bpe decoder that doubles": ("text", bpe("decoder", {**DOUBLING["normalizers"][0], "content": "aa"})),
    "bpe merges of nothing": ("text", bpe("model", "merges", [["?", "no such token"]])),
    "bpe dropout": ("text", bpe("model", "dropout", 0.5)),
    "bpe unknown": ("text", bpe("surprise", "x" * 100_000)),
    "vocabulary size": ("text", put("vocabulary", "size", HUGE)),
    "vocabulary null": ("text", put("vocabulary", None)),
    "fingerprint 1 MB": ("text", put("vocabulary", "fingerprint", "x" * 1_000_000)),
    "fingerprint control": ("text", put("vocabulary", "fingerprint", "\x1b[31m")),
    "format 1 MB": ("text", put("format", "x" * 1_000_000)),
    "format control": ("text", put("format", "\x1b[31m\u202e")),
    "format nested": ("text", put("format", json.loads("[" * 500 + "]" * 500))),
    "digits": ("text", lambda _: '{"format": 1, "context": ' + "9" * 5000 + "}"),
    "nested": ("text", lambda _: "[" * 5_000_000),
    "nested objects": ("text", lambda _: '{"a":' * 2_000_000),
    "many lists": ("text", lambda _: "[" + "[]," * 5_000_000 + "0]"),
    "many objects": ("text", lambda _: "[" + "{}," * 5_000_000 + "0]"),
    "many texts": ("text", lambda _: "[" + '"ab",' * 5_000_000 + "0]"),
    "wide text": ("text", lambda _: '{"a": "' + "x" * 50_000_000 + '\U0001f600"}'),
    "a list": ("text", lambda _: "[1]"),
    "no JSON": ("text", lambda _: "\x1b[31m"),
    "a long line that is no JSON": ("text", lambda _: '{"a": ' + " " * 5_000_000 + "x"),
    "empty": ("text", lambda _: " "),
    "notes list": ("text", put("notes", [1])),
    "step of the notes": ("text", put("notes", "step", [1])),
    "loss of the notes": ("text", put("notes", "val_loss", "x")),
}  # fmt: skip


FAST = """layers null|layers 1e9|layers 3|width 4e9|dropout text|mlp unknown|tied text|pattern of spaces|pattern 1 MB
pattern digits|context Infinity|positions digits|layouts 1e4|layout digits|layout 1e9|slot 1 MB|state null|numbers 1e9
size of palette|size of rgb 1e7|rate 1e9|channels 1e9|labels of marks|sets equal|volumes many|bpe padding
bpe regular expression|step of the notes|loss of the notes|digits|nested|many lists
format control|fingerprint control"""
FAST_HEADERS = "nested|huge|twice|trailing|overlap|out of range|shape huge|many layers|name control"


def some(names: Iterable[str], fast: str) -> list[Any]:
    """All names; those that others stand for are slow."""
    chosen = set(fast.replace("\n", "|").split("|"))
    return [name if name in chosen else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", some(JSONS, FAST))
def test_what_a_bundle_claims(bundles, tmp_path, name):
    kind, change = JSONS[name]
    folder = changed(bundles, tmp_path / "b", kind, change)
    attempt(load_bundle, folder).is_refusal(CONFIG if name != "layers 3" else WEIGHTS)


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(header: Any, tensors: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + tensors


def offsets(first: int, last: int) -> Callable[[dict[str, Any], bytes], bytes]:
    def change(header: dict[str, Any], tensors: bytes) -> bytes:
        header["tokens.weight"]["data_offsets"] = [first, last]
        return with_header(header, tensors)

    return change


def entry(**values: Any) -> Callable[[dict[str, Any], bytes], bytes]:
    def change(header: dict[str, Any], tensors: bytes) -> bytes:
        header["tokens.weight"] |= values
        return with_header(header, tensors)

    return change


def many(header: dict[str, Any], tensors: bytes) -> bytes:
    """Tensors without an element, by the hundred thousand."""
    none = {"dtype": "F32", "shape": [0], "data_offsets": [len(tensors)] * 2}
    return with_header(header | {f"t{n}": none for n in range(300_000)}, tensors)


def layers(header: dict[str, Any], tensors: bytes) -> bytes:
    none = {"dtype": "F32", "shape": [0], "data_offsets": [len(tensors)] * 2}
    return with_header(header | {f"layers.{n}.norm_1.weight": none for n in range(20_000)}, tensors)


HEADERS: dict[str, Callable[[dict[str, Any], bytes], bytes]] = {
    "nested": lambda _, tensors: with_header(b"[" * 50_000_000, tensors),
    "nested objects": lambda _, tensors: with_header(b'{"a":' * 3_000_000, tensors),
    "huge": lambda _, tensors: struct.pack("<Q", 2**63) + tensors,
    "longer than the file": lambda _, tensors: struct.pack("<Q", len(tensors) + 1) + tensors,
    "spaces": lambda header, tensors: with_header(b" " * 90_000_000 + json.dumps(header).encode(), tensors),
    "twice": lambda header, tensors: with_header(
        json.dumps(header).encode()[:-1] + b', "tokens.weight": ' + json.dumps(header["norm.weight"]).encode() + b"}",
        tensors,
    ),
    "trailing": lambda header, tensors: with_header(header, tensors + b"x"),
    "truncated": lambda header, tensors: with_header(header, tensors[:-1]),
    "overlap": offsets(0, 8),
    "backwards": offsets(8, 0),
    "negative": offsets(-8, 0),
    "out of range": offsets(1 << 40, (1 << 40) + 8),
    "beyond 64 bits": offsets(1 << 70, (1 << 70) + 8),
    "offsets texts": entry(data_offsets=["0", "8"]),
    "offsets floats": entry(data_offsets=[0.0, 8.0]),
    "offsets three": entry(data_offsets=[0, 8, 16]),
    "shape negative": entry(shape=[-1, 8]),
    "shape huge": entry(shape=[1 << 62, 1 << 62]),
    "shape of many": entry(shape=[1] * 300_000),
    "shape text": entry(shape="88"),
    "dtype unknown": entry(dtype="x" * 100_000),
    "dtype list": entry(dtype=[]),
    "name 1 MB": lambda header, tensors: with_header({**header, "x" * 1_000_000: header["norm.weight"]}, tensors),
    "name control": lambda header, tensors: with_header({**header, "\x1b[31m\u202e": header["norm.weight"]}, tensors),
    "many": many,
    "many layers": layers,
    "a list": lambda _, tensors: with_header(b"[]", tensors),
    "no JSON": lambda _, tensors: with_header(b"\xff" * 100, tensors),
    "digits": lambda _, tensors: with_header(b'{"a": ' + b"9" * 5000 + b"}", tensors),
    "metadata": lambda header, tensors: with_header({**header, "__metadata__": {"a": [1]}}, tensors),
    "empty": lambda _, tensors: b"",
}


@pytest.mark.parametrize("name", some(HEADERS, FAST_HEADERS))
def test_what_the_header_of_weights_claims(bundles, tmp_path, name):
    shutil.copytree(bundles / "text", tmp_path / "b")
    weights = tmp_path / "b" / WEIGHTS
    weights.write_bytes(HEADERS[name](*header_of(weights)))
    attempt(load_bundle, tmp_path / "b").is_refusal(weights)
