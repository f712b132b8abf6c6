"""Folders of models from strangers: links, names that lead out, levels without end, codecs and folders to import."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attacks.harness import attempt, posix, put
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.importing.byte_pairs import MAX_MERGES, read_byte_pairs
from helicon.bundle.importing.checkpoint import read_json, weight_files
from helicon.bundle.storage import CONFIG, WEIGHTS, load_bundle, save_bundle
from helicon.bundle.upsamplers import UPSAMPLERS, attach_bundle, upsamplers_of
from helicon.gpt.config import GPTConfig
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.text import BytesTokenizer
from helicon.vqvae import storage
from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.config import AudioCodecConfig, ImageCodecConfig
from helicon.vqvae.storage import CodecBundle, load_codec, save_codec

pytestmark = posix
HUGE = 10**9


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A bundle, a codec of pictures and one of sound, once loaded so that forks have what that imports."""
    folder = tmp_path_factory.mktemp("models")
    sequencer = Sequencer([Layout.parse("text")], {"text": BytesTokenizer()}, 16)
    save_bundle(
        Bundle(
            gpt=make_gpt(GPTConfig(layers=1, width=8, heads=2), sequencer.schema),
            sequencer=sequencer,
            tokenizer_names={"text": "bytes"},
        ),
        folder / "bundle",
    )
    torch.manual_seed(0)
    save_codec(
        CodecBundle(
            codec=ImageCodec(ImageCodecConfig(factor=2, width=8, blocks=1, codes=4, code_width=2)),
            medium="image",
            reading={"size": 8},
        ),
        folder / "image",
    )
    sound = AudioCodec(AudioCodecConfig(hops=(4, 8), width=8, depth=1, codes=4, code_width=2))
    save_codec(CodecBundle(codec=sound, medium="audio", reading={"rate": 8000, "channels": 1}), folder / "audio")
    load_bundle(folder / "bundle")
    load_codec(folder / "image")
    load_codec(folder / "audio")
    return folder


@pytest.fixture
def bundle(made, tmp_path) -> Path:
    return Path(shutil.copytree(made / "bundle", tmp_path / "run" / "model"))


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, "anything"])
@pytest.mark.parametrize("target", ["/dev/zero", "/etc/hostname", "..", "pipe"])
def test_links_and_pipes_in_a_bundle(bundle, name, target):
    (bundle / name).unlink(missing_ok=True)
    os.mkfifo(bundle / name) if target == "pipe" else os.symlink(target, bundle / name)
    for function in (load_bundle, lambda path: attach_bundle(path, path.parent / "other", 1)):
        ended = attempt(function, bundle)
        ended.is_refusal(bundle)
    assert not (bundle.parent / "other" / UPSAMPLERS / "1").exists()


def test_a_link_that_is_a_runs_model(made, tmp_path):
    (tmp_path / "run").mkdir()
    os.symlink(made / "bundle", tmp_path / "run" / "model")
    attempt(load_bundle, tmp_path / "run").is_refusal(tmp_path / "run" / "model", "symbolic link")
    os.symlink(made / "bundle", tmp_path / "named")  # one's own link, which one has typed
    assert load_bundle(tmp_path / "named").tokenizer_names == {"text": "bytes"}


def test_only_a_bundles_own_files_are_attached(bundle, tmp_path):
    (bundle / "more").write_bytes(b"x" * 1000)
    nested = bundle
    for _ in range(50):
        nested = nested / UPSAMPLERS / "1"
        nested.mkdir(parents=True)
    place = attach_bundle(bundle, tmp_path / "onto", 1)
    assert sorted(path.name for path in place.iterdir()) == [CONFIG, WEIGHTS]


def test_a_slot_that_leads_out_of_the_folder(bundle, tmp_path):
    """Its weights would be read from beside the folder, and copied."""
    shutil.copy(bundle / WEIGHTS, bundle.parent / "secret-codec.safetensors")
    config = json.loads((bundle / CONFIG).read_text(encoding="utf-8"))
    config["tokenizers"]["../secret"] = config["tokenizers"]["text"]
    (bundle / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    attempt(load_bundle, bundle).is_refusal(bundle / CONFIG, "unknown slot")
    place = attach_bundle(bundle, tmp_path / "onto", 1)
    assert sorted(path.name for path in place.iterdir()) == [CONFIG, WEIGHTS]
    assert not list((tmp_path / "onto").rglob("*secret*"))


def test_levels_without_end(bundle):
    (bundle / UPSAMPLERS).mkdir()
    for level in range(40):
        (bundle / UPSAMPLERS / str(level)).mkdir()
    attempt(upsamplers_of, bundle).is_refusal(bundle / UPSAMPLERS, "more than 32")
    shutil.rmtree(bundle / UPSAMPLERS)
    os.symlink(bundle.parent, bundle / UPSAMPLERS)
    attempt(upsamplers_of, bundle).is_refusal(bundle / UPSAMPLERS)
    os.unlink(bundle / UPSAMPLERS)
    (bundle / UPSAMPLERS).mkdir()
    os.symlink(bundle, bundle / UPSAMPLERS / "1")
    attempt(upsamplers_of, bundle).is_refusal(bundle / UPSAMPLERS / "1", "symbolic link")


CODECS: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "blocks 1e9": ("image", put("config", "blocks", HUGE)),
    "width 4e9": ("image", put("config", "width", 8 * HUGE)),
    "factor 2**60": ("image", put("config", "factor", 1 << 60)),
    "factor null": ("image", put("config", "factor", None)),
    "codes 1e9": ("image", put("config", "codes", HUGE)),
    "levels": ("image", put("config", "levels", [HUGE] * 8)),
    "levels many": ("image", put("config", "levels", [2] * 1_000_000)),
    "quantizer list": ("image", put("config", "quantizer", ["ema"])),
    "size 1e9": ("image", put("reading", "size", HUGE)),
    "size text": ("image", put("reading", "size", "8")),
    "reading of more": ("image", put("reading", "pedal", "drop")),
    "medium 1 MB": ("image", put("medium", "x" * 1_000_000)),
    "family of another": ("image", put("family", "audio")),
    "codes 1e9 in the list": ("image", put("codes", [HUGE])),
    "codes many": ("image", put("codes", [4] * 1_000_000)),
    "fingerprint": ("image", put("fingerprint", "\x1b[31m" * 100_000)),
    "format": ("image", put("format", "x" * 1_000_000)),
    "notes": ("image", put("notes", [])),
    "step of the notes": ("image", put("notes", "step", "abc")),
    "hops 1e18": ("audio", put("config", "hops", [2, 10**18])),
    "hops many": ("audio", put("config", "hops", [2**n for n in range(1, 60)])),
    "hop of a prime": ("audio", put("config", "hops", [2, 1_000_003 * 2])),
    "depth 1e9": ("audio", put("config", "depth", HUGE)),
    "growth": ("audio", put("config", "growth", HUGE)),
    "dilations": ("audio", lambda c: c["config"].update(depth=60, growth=60)),
    "stride 1e9": ("audio", put("config", "stride", HUGE)),
    "rate 0": ("audio", put("reading", "rate", 0)),
    "rate 1e18": ("audio", put("config", "rate", 10**18)),
    "channels 1e9": ("audio", put("config", "channels", HUGE)),
}
FAST_CODECS = {
    "blocks 1e9",
    "factor 2**60",
    "levels many",
    "size 1e9",
    "medium 1 MB",
    "hops 1e18",
    "depth 1e9",
    "growth",
}


@pytest.mark.parametrize(
    "name", [name if name in FAST_CODECS else pytest.param(name, marks=pytest.mark.slow) for name in CODECS]
)
def test_what_a_codec_claims(made, tmp_path, name):
    medium, change = CODECS[name]
    folder = Path(shutil.copytree(made / medium, tmp_path / "codec"))
    config = json.loads((folder / storage.CONFIG).read_text(encoding="utf-8"))
    change(config)
    (folder / storage.CONFIG).write_text(json.dumps(config), encoding="utf-8")
    attempt(load_codec, folder).is_refusal(folder / storage.CONFIG)


def test_codes_that_there_are_not(made, tmp_path):
    """Numbers in the weights that are places in tables."""
    from helicon.formats.weights import hash_weights, read_weights, write_weights

    folder = Path(shutil.copytree(made / "image", tmp_path / "codec"))
    weights = read_weights(folder / storage.WEIGHTS)
    weights["kept"] = torch.full_like(weights["kept"], 10**12)
    write_weights(folder / storage.WEIGHTS, weights)
    config = json.loads((folder / storage.CONFIG).read_text(encoding="utf-8"))
    config["fingerprint"] = hash_weights(weights)
    (folder / storage.CONFIG).write_text(json.dumps(config), encoding="utf-8")
    attempt(load_codec, folder).is_refusal(folder / storage.CONFIG, "codes that there are not")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "vocab.json"])
def test_json_of_a_folder_to_import(tmp_path, name):
    path = tmp_path / name
    contents = (b"[" * 50_000_000, b"[" + b"[]," * 3_000_000 + b"0]", b'{"a": ' + b"9" * 5000 + b"}", b"[1]", b"\xff")
    for content in (*contents, b'{"a": NaN}', b'{"a": 1, "a": 2}'):
        path.write_bytes(content)
        attempt(read_json, path).is_refusal(path)
    path.unlink()
    os.symlink("/dev/zero", path)
    attempt(read_json, path).is_refusal(path, "only regular files")


def byte_pairs() -> dict[str, Any]:
    """The library's JSON of 256 bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({name: i for i, name in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    return json.loads(tokenizer.to_str())


REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "  "}
TOKENIZERS: dict[str, Callable[[dict[str, Any]], None]] = {
    "doubling": put("normalizer", {"type": "Sequence", "normalizers": [REPLACE] * 40}),
    "backtracking": put("pre_tokenizer", {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "(a|a?)+$"}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ]}),
    "a decoder that doubles": put("decoder", {"type": "Sequence", "decoders": [REPLACE] * 40}),
    "numbers that are texts": put("model", "vocab", {"a": "1"}),
    "a number of 20 digits": put("model", "vocab", "!", 10**20),
    "merges of nothing": put("model", "merges", [["?", "none"]]),
    "no model": put("model", None),
    "a type of 1 MB": put("model", "type", "x" * 1_000_000),
}  # fmt: skip


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizers_of_a_folder_to_import(tmp_path, name):
    described = byte_pairs()
    TOKENIZERS[name](described)
    (tmp_path / "tokenizer.json").write_text(json.dumps(described))
    attempt(read_byte_pairs, tmp_path, 300, 299).is_refusal(tmp_path / "tokenizer.json")


def test_merges_of_a_folder_to_import(tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps(byte_pairs()["model"]["vocab"]))
    for content in (b"a b c d\n", b"x" * 40_000_000, b"\xff\n", b"\x1b[31m \x07\n", b" \n" * 1_000_000):
        (tmp_path / "merges.txt").write_bytes(content)
        attempt(read_byte_pairs, tmp_path, 300, 299).is_refusal(tmp_path / "vocab.json")
    (tmp_path / "merges.txt").write_bytes(b"! !\n" * (MAX_MERGES + 1))  # each a tuple of two texts
    found = attempt(read_byte_pairs, tmp_path, 300, 299)
    found.is_refusal(tmp_path / "vocab.json", "merges.txt has more than 1,048,576 lines")
    assert found.megabytes < 50
    (tmp_path / "merges.txt").write_bytes(b"#version: 0.2\n")
    found = read_byte_pairs(tmp_path, 300, 299)
    assert found is not None
    assert np.array_equal(found[0].encode("ab"), [found[0].block.index["a"], found[0].block.index["b"]])


NO_NAMES = {"list": ["x"], "nul": "b\0c", "surrogate": "\ud800", "long": "x" * 5000, "above": "../x", "number": 7}


@pytest.mark.parametrize("name", NO_NAMES)
def test_shards_that_are_no_names(tmp_path, name):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": NO_NAMES[name]}}))
    attempt(weight_files, tmp_path).is_refusal(index)
