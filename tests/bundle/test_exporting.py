"""Exported models compute there what they compute here; what cannot is refused in a line, and nothing is written."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.exporting.export import export_bundle
from helicon.bundle.exporting.refusals import ExportingError
from helicon.bundle.importing.folder import import_folder
from helicon.data.collate import collate
from helicon.generation.generate import generate
from helicon.generation.request import Request
from helicon.gpt.config import GPTConfig
from helicon.objectives.classify import Classify
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.palette import PaletteTokenizer
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.text import BpeTokenizer, BytesTokenizer, NumbersTokenizer

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("one_thread")

CORPUS = ["the cat sat on the mat, the cat sat on the hat\n"] * 30
AWKWARD = "the cat, 🎵👩🏽‍🎤 and\n\n  zwölf  mats"
LLAMA = {"norm": "rms", "mlp": "swiglu", "bias": False}


def model(
    specs: str = "text", tokenizer: Tokenizer | None = None, positions: str = "flat", context: int = 24, **config: Any
) -> Bundle:  # fmt: skip
    """A small one whose every weight matters."""
    tokenizers: Mapping[str, Tokenizer] = {
        "text": tokenizer or BpeTokenizer.train(CORPUS, 270),
        "image": PaletteTokenizer(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3), 4),
    }
    layouts = [Layout.parse(spec) for spec in specs.split("; ")]
    used = {slot.name: tokenizers[slot.name] for layout in layouts for slot in layout.slots}
    sequencer = Sequencer(layouts, used, context, positions)
    torch.manual_seed(0)
    gpt = make_gpt(GPTConfig(**{"layers": 2, "width": 32, "heads": 4, **config}), sequencer.schema).eval()
    for parameter in gpt.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return Bundle(gpt=gpt, sequencer=sequencer, tokenizer_names=dict.fromkeys(used, "bpe"))


@torch.inference_mode()
def logits(bundle: Bundle, local: list[int]) -> torch.Tensor:
    """[T, rows of the slot] after the task token and each of the ids that is fed."""
    layout = bundle.schema.layouts[0]
    packed = bundle.sequencer.pack(layout, {layout.target.name: np.array(local)})
    hidden = bundle.gpt(torch.from_numpy(packed.ids)[None], torch.from_numpy(packed.coord_ids)[None], layout.frame)
    return bundle.gpt.logits(hidden, bundle.schema.vocab_slice(layout.target))[0]


KINDS = {
    "GPT2LMHeadModel": [
        {}, {"tied": False}, {"bias": False}, {"mlp": "quick_gelu"}, {"mlp": "relu2", "mlp_ratio": 2.5},
        {"positions": "axes"}, {"positions": "grid:5"}, {"specs": "text[24]", "positions": "axes"},
        {"tokenizer": BytesTokenizer()}, {"tokenizer": NumbersTokenizer(30, [7])}, {"pattern": "(dense)*2"},
    ],
    "LlamaForCausalLM": [
        {}, {"tied": False}, {"attention_ratio": 2.0}, {"specs": "text[24]"}, {"heads": 1}, {"mlp_ratio": 1.0},
    ],
}  # fmt: skip


EACH = [(kind, options) for kind, found in KINDS.items() for options in found]


@pytest.mark.parametrize(("kind", "options"), EACH, ids=[f"{kind}-{'-'.join(each) or 'plain'}" for kind, each in EACH])
def test_logits_are_those_of_transformers(tmp_path, kind, options):
    bundle = model(**(options if kind.startswith("GPT") else {"positions": "rope", **LLAMA, **options}))
    export_bundle(bundle, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == kind
    count = len(bundle.schema.blocks["text"])
    local = np.random.default_rng(1).integers(0, count, bundle.schema.context).tolist()
    expected = logits(bundle, local)
    assert len(expected) == 24
    assert expected.std() > 1
    fed = torch.tensor([[theirs.config.bos_token_id, *local[:-1]]])
    with torch.inference_mode():
        torch.testing.assert_close(theirs(fed).logits[0], expected, rtol=1e-4, atol=1e-4)


def classifier(head_bias: bool = True, **options: Any) -> Bundle:
    """A model of three labels."""
    bundle = model(tokenizer=BytesTokenizer(), **options)
    bundle.objective, bundle.labels = Classify(), ("odes", "epics", "lays")
    with torch.no_grad():
        bundle.network.head.weight.normal_()
        bundle.network.head.bias.normal_(std=float(head_bias))
    return bundle


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"head_bias": False, "positions": "rope", **LLAMA}])
def test_labels_have_the_logits_of_transformers(tmp_path, options):
    bundle = classifier(**options)
    export_bundle(bundle, tmp_path)
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert list(theirs.config.id2label.values()) == list(bundle.labels)
    texts = ["the cat", "zwölf mats", "a"]
    together = tokenizer(texts, return_tensors="pt", padding=True)
    for number, text in enumerate(texts):
        packed = bundle.sequencer.pack(bundle.schema.layouts[0], {"text": BytesTokenizer().encode(text)})
        batch, network = collate(0, [packed]), bundle.network.eval()
        with torch.inference_mode():
            expected = network.logits(batch, network.hidden(batch))
            for found in (
                theirs(**tokenizer(text, return_tensors="pt")).logits,
                theirs(**together).logits[number, None],
            ):
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "to", "message"),
    [
        ({"positions": "rope", **LLAMA}, "hf", r"no Llama has a classification head with a bias \(none\)$"),
        ({"specs": "text[24]"}, "hf", r"the layout text\[24\] before a classification head \(an open slot"),
        ({}, "gguf", "has no place for a classification head: --to hf, or the run that it was trained from"),
    ],
)
def test_a_head_that_has_no_place_is_refused(tmp_path, options, to, message):
    with pytest.raises(ExportingError, match=message):
        export_bundle(classifier(**options), tmp_path / "out", to)
    alike = classifier()
    with torch.no_grad():
        alike.network.head.weight[1] = alike.network.head.weight[0]
    with pytest.raises(ExportingError, match="a bias that its classification head cannot make by itself"):
        export_bundle(alike, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("tokenizer", [BytesTokenizer(), BpeTokenizer.train(CORPUS, 270)], ids=["bytes", "byte pairs"])
def test_texts_have_their_tokens_there(tmp_path, tokenizer):
    bundle = model(tokenizer=tokenizer)
    export_bundle(bundle, tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ids = theirs(AWKWARD)["input_ids"]
    assert ids == [theirs.bos_token_id, *tokenizer.encode(AWKWARD)]
    assert theirs.bos_token_id == theirs.eos_token_id == len(tokenizer.block)
    assert theirs.decode(ids, skip_special_tokens=True) == AWKWARD


def test_there_and_back(tmp_path):
    bundle = model()
    export_bundle(bundle, tmp_path / "once")
    again = import_folder(tmp_path / "once")
    local = bundle.sequencer.tokenizers["text"].encode(AWKWARD)[:20].tolist()
    assert again.sequencer.tokenizers["text"].encode(AWKWARD)[:20].tolist() == local
    torch.testing.assert_close(logits(again, local), logits(bundle, local))
    export_bundle(again, tmp_path / "twice")
    for path in (tmp_path / "once").iterdir():
        assert path.read_bytes() == (tmp_path / "twice" / path.name).read_bytes()


IN_LLAMA_CPP = [
    {}, {"positions": "rope", **LLAMA, "tokenizer": BytesTokenizer()},
    {"positions": "rope", **LLAMA, "attention_ratio": 2.0},
]  # fmt: skip


@pytest.mark.parametrize("options", IN_LLAMA_CPP, ids=["GPT-2, byte pairs", "Llama, bytes", "Llama, byte pairs"])
def test_llama_cpp_makes_the_same_tokens(tmp_path, options):
    llama = pytest.importorskip("xllamacpp")
    bundle = model(context=64, tied=False, **options)
    names = bundle.schema.blocks["text"].tokens
    head = bundle.gpt.head_weight[bundle.schema.vocab_slice(bundle.schema.layouts[0].target)]
    with torch.no_grad():  # ASCII alone is made, since llama.cpp does not list parts of a character
        head[[i for i, name in enumerate(names) if not name.isascii() or name.startswith("0x")] + [-1]] = 0
    export_bundle(bundle, tmp_path, "gguf")
    params = llama.CommonParams()
    params.model.path, params.n_ctx, params.warmup, params.verbosity = str(tmp_path / "model.gguf"), 64, False, -1
    params.cpuparams.n_threads = params.n_parallel = 1
    params.cache_type_k = params.cache_type_v = llama.ggml_type.GGML_TYPE_F32
    asked = {"prompt": AWKWARD, "n_predict": 12, "temperature": 0, "logprobs": 1}
    found = llama.Server(params).handle_completions(asked)
    (ours,) = generate(bundle, Request(conditions={"text": AWKWARD}, tokens=12, temperature=0))
    there = [token["id"] for token in found["choices"][0]["logprobs"]["content"]]
    assert found["usage"]["prompt_tokens"] == 1 + len(ours.ids) - 12
    assert there == ours.ids[-12:].tolist()
    assert len(set(there)) > 1


def test_what_is_in_a_gguf_file(tmp_path):
    gguf = pytest.importorskip("gguf")
    bundle = model(context=64)
    export_bundle(bundle, tmp_path, "gguf")
    reader, described = gguf.GGUFReader(tmp_path / "model.gguf"), bundle.sequencer.tokenizers["text"].state()["bpe"]
    assert reader.fields["general.architecture"].contents() == "gpt2"
    assert reader.fields["gpt2.context_length"].contents() == 64
    merges = reader.fields["tokenizer.ggml.merges"].contents()
    assert merges == [" ".join(merge) for merge in described["model"]["merges"]]
    assert reader.fields["tokenizer.ggml.tokens"].contents() == [*bundle.schema.blocks["text"].tokens, "<|endoftext|>"]
    queries = next(tensor.data for tensor in reader.tensors if tensor.name == "blk.1.attn_qkv.weight")
    np.testing.assert_array_equal(queries, bundle.gpt.state_dict()["layers.1.attention.qkv.weight"].numpy())


def test_what_llama_cpp_lacks_is_named(tmp_path, monkeypatch):
    numbers, normalized = NumbersTokenizer(30), BpeTokenizer.train(CORPUS, 260).state()
    normalized["bpe"]["normalizer"] = {"type": "NFC"}
    for message, bundle in {
        "takes models of text, of bytes or byte pairs": model(tokenizer=numbers),
        "no normalizer NFC": model(tokenizer=BpeTokenizer.from_state(normalized)),
        r"no mlp relu2 \(gelu\)": model(mlp="relu2"),
    }.items():
        with pytest.raises(ExportingError, match=message):
            export_bundle(bundle, tmp_path / "out", "gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ExportingError, match=r"the gguf package is needed: pip install 'helicon-gpt\[export\]'"):
        export_bundle(model(), tmp_path / "out", "gguf")
    with pytest.raises(ExportingError, match="unknown to 'onnx'; known: hf, gguf"):
        export_bundle(model(), tmp_path / "out", "onnx")
    assert not (tmp_path / "out").exists()


REFUSED = {
    r"layouts text; image\[4x4\] \(one slot": {"specs": "text; image"},
    r"layouts text\[4\] image\[4x4\] \(one slot": {"specs": "text[4] image"},
    r"layout image\[4x4\] \(a slot without rows and columns\)": {"specs": "image"},
    r"^no GPT-2 or Llama has pattern dense,local:8 \(dense\), qk_norm, qk_ratio 0.5 \(1\)$": {
        "pattern": "dense,local:8", "qk_norm": True, "qk_ratio": 0.5,
    },
    r"^no GPT-2 has norm rms \(layer\); no Llama has positions flat \(rope\), mlp gelu \(swiglu\), bias \(false": {
        "norm": "rms"
    },
    r"^no GPT-2 or Llama has qk_norm; no GPT-2 has positions rope \(flat, axes or grid\); no Llama has norm layer": {
        "positions": "rope", "qk_norm": True, "bias": False,
    },
    r"no GPT-2 has mlp swiglu \(gelu, quick_gelu, relu2\)": {"mlp": "swiglu"},
    r"no GPT-2 has attention_ratio 2 \(1\)": {"attention_ratio": 2.0},
    r"no Llama has heads of a width of 5": {"positions": "rope", **LLAMA, "width": 20},
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_what_prevents_it_is_named(tmp_path, message):
    for to in ("hf", "gguf"):
        with pytest.raises(ExportingError, match=message):
            export_bundle(model(**REFUSED[message]), tmp_path / "out", to)
    assert not (tmp_path / "out").exists()
