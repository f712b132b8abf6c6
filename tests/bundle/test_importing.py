"""Models of others compute here what they compute there; what cannot is refused in a line."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import ByteLevelBPETokenizer

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.importing.checkpoint import ImportingError
from helicon.bundle.importing.folder import import_folder
from helicon.bundle.importing.imagegpt import evenly_spaced
from helicon.bundle.storage import load_bundle, save_bundle
from helicon.evaluation.features import layer_features
from helicon.formats.image import write_image
from helicon.generation.generate import generate
from helicon.generation.request import Request
from helicon.sequence.layout import TASK
from helicon.training.learning.grow import init_weights_from

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("one_thread")

END = 7  # not the last row
TEXT = {"vocab_size": 50, "n_positions": 24, "n_embd": 32, "n_layer": 2, "n_head": 4, "eos_token_id": END}
PICTURE = {"vocab_size": 9, "n_positions": 16, "n_embd": 32, "n_layer": 3, "n_head": 2}
CORPUS = ["the cat sat on the mat, the cat sat on the hat\n"] * 30
AWKWARD = "the cat, 🎵👩🏽‍🎤 and\n\n  zwölf  mats"


def random_model(kind: str = "GPT2LMHeadModel", **settings: Any) -> Any:
    """One of transformers' models whose every weight matters."""
    torch.manual_seed(0)
    made = getattr(transformers, kind)
    model = made(made.config_class(**{**(PICTURE if "Image" in kind else TEXT), **settings})).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def saved(folder: Path, model: Any) -> Path:
    """A folder with that model."""
    model.save_pretrained(folder)
    return folder


def changed(folder: Path, **settings: Any) -> Path:
    """The folder with other settings."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))
    return folder


@torch.inference_mode()
def our_logits(bundle: Bundle, local: list[int]) -> torch.Tensor:
    """[T, rows of the slot] after the task token and each of the ids that is fed."""
    layout = bundle.schema.layouts[0]
    packed = bundle.sequencer.pack(layout, {layout.target.name: np.array(local)})
    hidden = bundle.gpt(torch.from_numpy(packed.ids)[None], torch.from_numpy(packed.coord_ids)[None], layout.frame)
    return bundle.gpt.logits(hidden, bundle.schema.vocab_slice(layout.target))[0]


@torch.inference_mode()
def their_logits(model: Any, ids: list[int]) -> torch.Tensor:
    return model(torch.tensor([ids])).logits[0]


def assert_same_text_model(bundle: Bundle, model: Any, kept: list[int] | None = None) -> None:
    """Logits after end-of-text and each of as many random tokens as there are places."""
    kept = [row for row in range(TEXT["vocab_size"]) if row != END] if kept is None else kept
    local = np.random.default_rng(1).integers(0, len(kept), TEXT["n_positions"] - 1).tolist()
    expected = their_logits(model, [END, *(kept[i] for i in local)])[:, [*kept, END]]
    assert expected.std() > 1
    torch.testing.assert_close(our_logits(bundle, local), expected, rtol=1e-4, atol=1e-4)


VARIANTS = [
    {}, {"scale_attn_by_inverse_layer_idx": True}, {"scale_attn_weights": False}, {"reorder_and_upcast_attn": True},
    {"activation_function": "quick_gelu"}, {"activation_function": "gelu_pytorch_tanh"},
    {"tie_word_embeddings": False}, {"n_inner": 128}, {"n_inner": 72}, {"eos_token_id": [END]},
]  # fmt: skip


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_logits_are_those_of_gpt2(tmp_path, settings):
    model = random_model(**settings)
    bundle = import_folder(saved(tmp_path, model))
    assert_same_text_model(bundle, model)
    assert bundle.gpt.config.tied == settings.get("tie_word_embeddings", True)
    assert bundle.gpt.config.dropout == 0.1


def test_logits_are_those_of_gpt2_from_other_files(tmp_path):
    model = random_model()
    saved(tmp_path / "bare", model.transformer)  # names without `transformer.`
    model.save_pretrained(tmp_path / "shards", max_shard_size="30KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    tensors = load_file(saved(tmp_path / "old", model) / "model.safetensors")
    masks = {f"transformer.h.{i}.attn.bias": torch.ones(1, 1, 24, 24, dtype=torch.uint8) for i in range(2)}
    masks |= {f"transformer.h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(2)}
    tied = {"lm_head.weight": tensors["transformer.wte.weight"].clone(), "score.weight": torch.ones(2, 32)}
    save_file(tensors | masks | tied, tmp_path / "old" / "model.safetensors", {"format": "pt"})
    said: list[str] = []
    for name in ("bare", "shards", "old"):
        assert_same_text_model(import_folder(tmp_path / name, said.append), model)
    assert [line for line in said if "left out" in line] == ["left out   score.weight: not of a language model"]


def test_half_precision_becomes_single(tmp_path):
    bundle = import_folder(saved(tmp_path, random_model().half()))
    assert {weight.dtype for weight in bundle.gpt.parameters()} == {torch.float32}
    assert_same_text_model(bundle, random_model().half().float())


def test_logits_are_those_of_imagegpt(tmp_path):
    model = random_model("ImageGPTForCausalImageModeling")
    bundle = import_folder(saved(tmp_path, model))
    assert str(bundle.schema.layouts[0]) == "image[4x4]"
    assert (bundle.gpt.config.norm, bundle.gpt.config.mlp, bundle.gpt.config.tied) == ("rms", "quick_gelu", False)
    ids = np.random.default_rng(2).integers(0, 8, 16).tolist()
    expected = their_logits(model, [8, *ids[:15]])
    assert expected.std() > 1
    torch.testing.assert_close(our_logits(bundle, ids), expected, rtol=1e-4, atol=1e-4)


def test_features_are_the_means_of_imagegpts_hidden_states(tmp_path):
    model = random_model("ImageGPTForCausalImageModeling")
    bundle = import_folder(saved(tmp_path, model))
    ids = np.random.default_rng(3).integers(0, 8, (3, 16))
    found = layer_features(bundle, corpus_of(bundle, ids), bundle.schema.layouts[0], range(4))
    with torch.inference_mode():
        start = np.full((3, 1), 8)
        hidden = model.transformer(
            torch.from_numpy(np.concatenate([start, ids[:, :15]], 1)), output_hidden_states=True
        ).hidden_states
        norms = [*(block.ln_1 for block in model.transformer.h), lambda done: done]  # the last is normalised already
        for layer, norm in enumerate(norms):
            expected = norm(hidden[layer]).mean(1).numpy()
            np.testing.assert_allclose(found[layer], expected, rtol=1e-4, atol=1e-4)


def corpus_of(bundle: Bundle, ids: np.ndarray) -> Any:
    """A corpus of pictures that are not in any file."""
    from helicon.data.corpus import Corpus

    count, length = ids.shape
    names = [f"{i}.png" for i in range(count)]
    offsets = {"image": np.arange(0, count * length + 1, length)}
    val = np.zeros(count, bool)
    return Corpus(
        layout=str(bundle.schema.layouts[0]),
        names=names,
        labels=[None] * count,
        val=val,
        ids={"image": ids.ravel()},
        offsets=offsets,
    )


def their_greedy(model: Any, ids: list[int], count: int) -> list[int]:
    """What transformers goes on with, `count` tokens of it, without an end."""
    given = torch.tensor([ids])
    made = model.generate(
        given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=count, pad_token_id=0
    )
    return made[0, len(ids) :].tolist()


@pytest.mark.parametrize("prime", [[12, 0, 49], []], ids=str)
def test_greedy_text_is_gpt2s(tmp_path, prime):
    model = random_model()
    save_bundle(import_folder(saved(tmp_path / "theirs", model)), tmp_path / "ours")
    text = " ".join(map(str, prime))
    (item,) = generate(load_bundle(tmp_path / "ours"), Request(conditions={"text": text}, tokens=20, temperature=0))
    expected = their_greedy(model, [END, *prime], 20)
    expected = expected[: expected.index(END)] if END in expected else expected
    assert len(expected) > 3
    assert item.media == " ".join(map(str, [*prime, *expected]))


def test_greedy_picture_is_imagegpts(tmp_path):
    model = random_model("ImageGPTForCausalImageModeling")
    folder = saved(tmp_path / "theirs", model)
    clusters = evenly_spaced(8)[::-1]  # from white to black
    (folder / "preprocessor_config.json").write_text(json.dumps({"clusters": clusters.tolist()}))
    bundle = import_folder(folder)
    top = np.array([[0, 7, 3, 3], [1, 2, 6, 5]])
    colours = np.where(clusters[top] > 0, 255, 0).astype(np.uint8)
    write_image(np.concatenate([colours, colours]), tmp_path / "picture.png")
    request = Request(prime=tmp_path / "picture.png", keep="0.5", temperature=0)
    (item,) = generate(bundle, request)
    assert item.ids[:8].tolist() == top.ravel().tolist()
    assert item.ids[8:].tolist() == their_greedy(model, [8, *top.ravel().tolist()], 8)


@pytest.mark.parametrize("files", ["tokenizer.json", "vocab.json"])
def test_byte_pairs_are_those_of_gpt2(tmp_path, files):
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(CORPUS, 280, special_tokens=["<pad>", "<|endoftext|>"], show_progress=False)
    settings = {"vocab_size": 300, "eos_token_id": 1}  # more rows than tokens
    folder = saved(tmp_path, random_model(**settings))
    trained.save_model(str(folder)) if files == "vocab.json" else trained.save(str(folder / files))
    theirs = transformers.GPT2TokenizerFast.from_pretrained(folder)

    said: list[str] = []
    bundle = import_folder(folder, said.append)

    tokenizer = bundle.sequencer.tokenizers["text"]
    names = {token: row for token, row in theirs.get_vocab().items() if row != 1}
    kept = [names[token] for token in tokenizer.block.tokens]
    assert kept == [0, *range(2, trained.get_vocab_size())]
    rows = f"{300 - trained.get_vocab_size()} rows without a token left out"
    assert said == [f"tokenizer  {len(kept)} byte pairs; {rows}"]
    save_bundle(bundle, tmp_path / "bundle")
    again = load_bundle(tmp_path / "bundle").sequencer.tokenizers["text"]
    for text in (AWKWARD, CORPUS[0], " <|endoftex|> ", ""):
        ids = tokenizer.encode(text)
        assert again.encode(text).tolist() == ids.tolist()
        assert [kept[i] for i in ids] == theirs(text)["input_ids"]
        assert tokenizer.decode(ids) == text
    assert tokenizer.decode(tokenizer.encode("<|endoftext|>")) == "<|endoftext|>"  # a text like any other
    model = random_model(**settings)
    local = tokenizer.encode(AWKWARD)[:20].tolist()
    expected = their_logits(model, [1, *(kept[i] for i in local)])[:, [*kept, 1]]
    torch.testing.assert_close(our_logits(bundle, local), expected, rtol=1e-4, atol=1e-4)


def test_the_bundle_comes_back_and_is_adopted(tmp_path):
    bundle = import_folder(saved(tmp_path / "gpt2-of-mine", random_model()))
    save_bundle(bundle, tmp_path / "bundle")
    again = load_bundle(tmp_path / "bundle")
    assert again.hash() == bundle.hash()
    assert again.notes == {"imported": "gpt2-of-mine", "model_type": "gpt2"}
    fresh = make_gpt(again.gpt.config, again.schema)
    init_weights_from(fresh, again.schema, again)
    for name, weight in again.gpt.state_dict().items():
        if name not in ("tokens.weight", "head.weight"):
            assert torch.equal(weight, fresh.state_dict()[name])
    rows = again.schema.vocabulary.slice("text")
    assert torch.equal(again.gpt.tokens.weight[rows], fresh.tokens.weight[rows])
    task = again.schema.vocabulary.slice(TASK).start
    assert torch.equal(again.gpt.tokens.weight[task], fresh.tokens.weight[task])


REFUSED = [
    ({"model_type": "llama"}, "unknown model_type 'llama'; known: gpt2, imagegpt"),
    ({"activation_function": "relu"}, "activation_function 'relu': accepted is gelu_new or"),
    ({"add_cross_attention": True}, "add_cross_attention True: accepted is False"),
    ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon 1e-06: accepted is 1e-05"),
    ({"n_inner": 64}, "n_inner 64: there are weights of 128"),
    ({"n_inner": 10**20}, "there are weights of 128"),
    ({"n_inner": 2.5}, "n_inner 2.5: a whole number above 0 is accepted"),
    ({"n_layer": 3}, "n_layer 3: there are weights of 2 layers"),
    ({"n_layer": 10**12}, "there are weights of 2 layers"),
    ({"n_layer": "2"}, "n_layer '2': a whole number above 0 is accepted"),
    ({"n_head": None}, "n_head None: a whole number above 0 is accepted"),
    ({"n_head": 5}, "width 32 is not a multiple of heads 5"),
    ({"n_embd": 64}, "wte.weight is [50, 32], config.json says [50, 64]"),
    ({"n_positions": 10**12}, "wpe.weight is [24, 32]"),
    ({"eos_token_id": 50}, "eos_token_id 50: one row of the 50 of the vocabulary is accepted"),
    ({"eos_token_id": None}, "eos_token_id None"),
    ({"eos_token_id": [1, 2]}, "eos_token_id [1, 2]"),
    ({"resid_pdrop": 2}, "resid_pdrop 2: a share from 0"),
    ({"tie_word_embeddings": False}, "no weights named lm_head.weight"),
    ({"scale_attn_weights": "yes"}, "scale_attn_weights 'yes': accepted is True or False"),
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("gpt2"), random_model())


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def assert_refused(folder: Path, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the message is looked at below
        import_folder(folder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("settings", "message"), REFUSED, ids=str)
def test_settings_of_another_model_are_refused_by_name(folder, tmp_path, settings, message):
    assert_refused(changed(copied(folder, tmp_path / "copy"), **settings), message)


def test_pictures_that_are_no_squares_and_palettes_that_do_not_fit_are_refused(tmp_path):
    saved(tmp_path / "wide", random_model("ImageGPTForCausalImageModeling", n_positions=15))
    assert_refused(tmp_path / "wide", "n_positions 15: the pixels of a square picture are accepted")
    saved(tmp_path / "palette", random_model("ImageGPTForCausalImageModeling"))
    for clusters in ([[0, 0, 0]], evenly_spaced(8) * 128, "black", [["black"] * 3] * 8):
        palette = {"clusters": np.asarray(clusters).tolist()}
        (tmp_path / "palette" / "preprocessor_config.json").write_text(json.dumps(palette))
        assert_refused(tmp_path / "palette", "8 colours of 3 numbers in [-1, 1] are accepted")


def test_damaged_folders_are_refused(folder, tmp_path):
    weights = (folder / "model.safetensors").read_bytes()
    harms = {
        "cut": ("model.safetensors", weights[:-9], "truncated or changed"),
        "json": ("config.json", b'{"model_type": "gpt2",', "config.json: not JSON"),
        "deep": ("config.json", b"[" * 20_000, "config.json: not JSON"),
        "list": ("config.json", b"[]", "an object is expected, it holds list"),
        "vocabulary": ("vocab.json", b"{}", "vocab.json and merges.txt are needed, or neither"),
        "unigram": ("tokenizer.json", unigram(), "a tokenizer of type Unigram, byte-level BPE is accepted"),
        "tokenizer": ("tokenizer.json", b'{"model": 3}', "tokenizer.json: "),
    }
    for name, (file, content, message) in harms.items():
        harmed = copied(folder, tmp_path / name)
        (harmed / file).write_bytes(content)
        assert_refused(harmed, message)
    tensors = load_file(folder / "model.safetensors")
    for change, message in (
        ({"transformer.h.1.ln_2.bias": torch.ones(3)}, "h.1.ln_2.bias is [3], config.json says [32]"),
        ({"transformer.h.1.crossattention.c_attn.bias": torch.ones(3)}, "h.1.crossattention.c_attn.bias belongs to no"),
        ({"transformer.ln_f.bias": torch.ones(32).int()}, "transformer.ln_f.bias holds torch.int32"),
        ({"ln_f.bias": torch.ones(32)}, "ln_f.bias is there twice"),
    ):
        harmed = copied(folder, tmp_path / message[:12])
        save_file(tensors | change, harmed / "model.safetensors")
        assert_refused(harmed, message)


def unigram() -> bytes:
    from tokenizers import Tokenizer, models

    return Tokenizer(models.Unigram([("a", 0.0)], 0, False)).to_str().encode()


def test_a_tokenizer_of_more_tokens_than_rows_is_refused(folder, tmp_path):
    harmed = copied(folder, tmp_path / "copy")
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(CORPUS, 260, special_tokens=["<|endoftext|>"], show_progress=False)
    trained.save(str(harmed / "tokenizer.json"))
    assert_refused(harmed, "be rows of the weights, 0 .. 49; without")
    described = json.loads((harmed / "tokenizer.json").read_text())
    del described["model"]["vocab"]["!"]
    (harmed / "tokenizer.json").write_text(json.dumps(described))
    assert_refused(harmed, "1 of the 256 bytes have no token; without tokenizer files")


def test_pickles_are_never_opened(folder, tmp_path):
    harmed = copied(folder, tmp_path / "copy")
    (harmed / "model.safetensors").rename(harmed / "pytorch_model.bin")
    assert_refused(harmed, "pytorch_model.bin: a pickle, which can run any code, is never opened")
    (harmed / "pytorch_model.bin").unlink()
    assert_refused(harmed, "no model.safetensors or model.safetensors.index.json")
    for names in ({"a": "../config.json"}, {}, ["a"], {"a": 3}):
        (harmed / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
        assert_refused(harmed, "weight_map must name files of weights beside it")
    (harmed / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "a.safetensors"}}))
    assert_refused(harmed, "a.safetensors: missing")
    with pytest.raises(ImportingError, match="no such file or folder"):
        import_folder(tmp_path / "nowhere")


@pytest.mark.parametrize("colours", [1, 2, 8, 9, 64, 512])
def test_evenly_spaced_colours_differ(colours):
    found = evenly_spaced(colours)
    assert found.shape == (colours, 3)
    assert len(np.unique(found, axis=0)) == colours
    assert np.abs(found).max() == 1


class NanoGPT(torch.nn.Module):
    """nanoGPT's model.py, as far as logits need it."""

    def __init__(self, rows: int, context: int, width: int, layers: int, heads: int, bias: bool) -> None:
        super().__init__()
        norm = partial(torch.nn.LayerNorm, width, bias=bias)
        block, linear = torch.nn.ModuleDict, partial(torch.nn.Linear, bias=bias)
        self.heads = heads
        self.transformer = block({
            "wte": torch.nn.Embedding(rows, width), "wpe": torch.nn.Embedding(context, width), "ln_f": norm(),
            "h": torch.nn.ModuleList(
                block({
                    "ln_1": norm(), "ln_2": norm(),
                    "attn": block({"c_attn": linear(width, 3 * width), "c_proj": linear(width, width)}),
                    "mlp": block({"c_fc": linear(width, 4 * width), "c_proj": linear(4 * width, width)}),
                }) for _ in range(layers)
            ),
        })  # fmt: skip
        self.lm_head = torch.nn.Linear(width, rows, bias=False)
        self.lm_head.weight = self.transformer["wte"].weight

    def forward(self, ids_BT: torch.Tensor) -> torch.Tensor:
        parts, (batch, length) = self.transformer, ids_BT.shape
        x = parts["wte"](ids_BT) + parts["wpe"](torch.arange(length))
        for layer in parts["h"]:
            q, k, v = (
                part.view(batch, length, self.heads, -1).transpose(1, 2)
                for part in layer["attn"]["c_attn"](layer["ln_1"](x)).chunk(3, -1)
            )
            mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + layer["attn"]["c_proj"](mixed.transpose(1, 2).reshape(batch, length, -1))
            x = x + layer["mlp"]["c_proj"](torch.nn.functional.gelu(layer["mlp"]["c_fc"](layer["ln_2"](x))))
        return self.lm_head(parts["ln_f"](x))


def nano_checkpoint(folder: Path, bias: bool = False, prefix: str = "_orig_mod.", rows: int = 50) -> NanoGPT:
    """A random model, written to ckpt.pt as train.py writes it, with the state of its optimizer."""
    torch.manual_seed(0)
    model = NanoGPT(rows, 24, 32, 2, 4, bias)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 3, dtype=torch.int64)).sum().backward()
    optimizer.step()
    arguments = {"n_layer": 2, "n_head": 4, "n_embd": 32, "block_size": 24, "bias": bias, "vocab_size": rows}
    folder.mkdir(exist_ok=True)
    torch.save(
        {
            "model": {prefix + name: tensor for name, tensor in model.state_dict().items()},
            "optimizer": optimizer.state_dict(), "model_args": {**arguments, "dropout": 0.1}, "iter_num": 7,
            "best_val_loss": torch.tensor(1.5), "config": {"dataset": "shakespeare_char", "beta1": 0.9},
        },
        folder / "ckpt.pt",
    )  # fmt: skip
    return model


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module._orig_mod."])
def test_logits_are_those_of_nanogpt(tmp_path, bias, prefix):
    model = nano_checkpoint(tmp_path / "out", bias, prefix)
    lines: list[str] = []
    for path in (tmp_path / "out", tmp_path / "out" / "ckpt.pt"):
        bundle = import_folder(path, lines.append)
        local = np.random.default_rng(1).integers(0, 49, 23).tolist()
        with torch.inference_mode():
            expected = model(torch.tensor([[0, *(i + 1 for i in local)]]))[0]
        assert expected.std() > 1
        torch.testing.assert_close(our_logits(bundle, local), expected[:, [*range(1, 50), 0]], rtol=2e-2, atol=2e-2)
    assert "number 0 ends a text" in " ".join(lines)


def test_nanogpt_of_gpt2s_tokens_ends_as_gpt2_does(tmp_path):
    model = nano_checkpoint(tmp_path / "out", rows=50304)
    bundle = import_folder(tmp_path / "out")
    with torch.inference_mode():
        expected = model(torch.tensor([[50256, 5, 50300]]))[0]
    ours = our_logits(bundle, [5, 50299])
    torch.testing.assert_close(ours[:, -1], expected[:, 50256], rtol=2e-2, atol=2e-2)
    torch.testing.assert_close(ours[:, 5], expected[:, 5], rtol=2e-2, atol=2e-2)


def test_logits_of_a_compiled_model_are_those_of_gpt2(tmp_path):
    model = random_model()
    folder = saved(tmp_path / "a", model)
    tensors = load_file(folder / "model.safetensors")
    save_file({f"_orig_mod.{name}": tensor for name, tensor in tensors.items()}, folder / "model.safetensors")
    assert_same_text_model(import_folder(folder), model)


class Runs:
    def __reduce__(self):
        return print, ("it ran",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": Runs(), "model_args": {}}, "objects that would run code"),
        ({"state_dict": {}, "pytorch-lightning_version": "2.5"}, "a checkpoint of Lightning"),
        ({"a.weight": torch.zeros(2)}, "weights without their settings"),
        ({"net": 1, "args": 2}, "another program, with net, args"),
        ([1], "it holds list"),
        ({"model": {"wte.weight": torch.zeros(2)}, "model_args": {}}, "ckpt.pt: n_layer None: a whole number above 0"),
        ({"model": {"wte.weight": 3}, "model_args": {}}, "wte.weight is no tensor of numbers with fractions"),
    ],
    ids=["code", "Lightning", "weights", "keys", "list", "settings", "number"],
)
def test_other_checkpoints_are_named(tmp_path, capsys, content, message):
    torch.save(content, tmp_path / "ckpt.pt")
    for path in (tmp_path, tmp_path / "ckpt.pt"):
        with pytest.raises(ValueError, match=r"ckpt\.pt: ") as error:
            import_folder(path)
        assert message in str(error.value)
    assert capsys.readouterr().out == ""


def test_what_else_a_path_is_is_named(tmp_path):
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "outer" / "inner" / "config.json").write_text("{}")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "bundle.json").write_text("{}")
    (tmp_path / "a.gguf").write_bytes(b"GGUF\3\0\0\0")
    (tmp_path / "model.safetensors").write_bytes(bytes(9))
    for name, message in {
        "outer": f"no config.json in it, but in {tmp_path / 'outer' / 'inner'}",
        "empty": "an empty folder",
        "bundle": "a bundle of Helicon, which needs no import",
        "a.gguf": "a file of llama.cpp",
        "model.safetensors": "weights without their settings; their folder, with config.json, is imported",
        ".": "no config.json in it, but a.gguf, bundle, empty, model.safetensors, outer",
        "nowhere": "no such file or folder",
    }.items():
        assert_refused(tmp_path / name, message)
