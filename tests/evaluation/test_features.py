"""Features are means of what a layer's attention is fed, of each file, in the order of the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.data.corpus import Corpus
from helicon.data.corpus_writer import write_corpus
from helicon.evaluation.features import Features, layer_features
from helicon.gpt.config import GPTConfig
from helicon.gpt.numbers import NotFiniteError
from helicon.objectives.classify import Classify
from helicon.sequence.layout import Layout
from helicon.tokenizers.labels import LabelTokenizer
from helicon.tokenizers.palette import PaletteTokenizer
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.text import BytesTokenizer

pytestmark = pytest.mark.usefixtures("one_thread")

LAYERS = 3
LENGTHS = [5, 1, 40, 9, 16, 15, 17, 8]


def bundle_of(spec: str) -> Bundle:
    """Untrained, with weights large enough to tell positions apart."""
    greys = np.linspace(-1, 1, 4)[:, None] * np.ones(3)
    tokenizers = {
        "image": PaletteTokenizer(greys, 4), "text": BytesTokenizer(), "style": LabelTokenizer(["a", "b"]),
    }  # fmt: skip
    layout = Layout.parse(spec)
    names = [slot.name for slot in layout.slots]
    sequencer = Sequencer([layout], {name: tokenizers[name] for name in names}, 16)
    torch.manual_seed(0)
    gpt = make_gpt(GPTConfig(layers=LAYERS, width=16, heads=2), sequencer.schema)
    for parameter in gpt.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return Bundle(gpt=gpt, sequencer=sequencer, tokenizer_names=dict.fromkeys(names, "?"))


def corpus_of(bundle: Bundle, folder: Path) -> Corpus:
    """Random pictures, texts of several lengths, captions of none to 3 bytes."""
    rng = np.random.default_rng(0)
    layout = bundle.schema.layouts[0]
    sizes = {slot.name: len(bundle.schema.blocks[slot.name]) for slot in layout.slots}

    def ids(name: str, i: int) -> np.ndarray:
        length = 16 if name == "image" else i % 4 if layout.target.name != name else LENGTHS[i]
        return rng.integers(0, sizes[name], length)

    rows = [(f"{i}", "ab"[i % 2] if i else None, i == 3, {n: ids(n, i) for n in sizes}) for i in range(len(LENGTHS))]
    return write_corpus(folder, str(layout), rows, sizes)


@torch.inference_mode()
def by_hand(bundle: Bundle, corpus: Corpus) -> list[np.ndarray]:
    """The oracle, for examples within the context: one at a time, and what each attention was seen to be fed."""
    layout, found = bundle.schema.layouts[0], []
    for i in range(len(corpus)):
        fed: list[torch.Tensor] = []

        def keep(module: torch.nn.Module, inputs: tuple, fed: list[torch.Tensor] = fed) -> None:
            fed.append(inputs[0])

        hooks = [layer.attention.register_forward_pre_hook(keep) for layer in bundle.gpt.layers]
        packed = bundle.sequencer.pack(layout, corpus.example(i), plan=False)
        fed.append(
            bundle.gpt(torch.from_numpy(packed.ids)[None], torch.from_numpy(packed.coord_ids)[None], layout.frame)
        )
        for hook in hooks:
            hook.remove()
        found.append(np.stack([hidden[0, layout.prefix - 1 :].mean(0).numpy() for hidden in fed]))
    return found


@pytest.mark.parametrize("spec", ["image[4x4]", "text[4] image[4x4]", "text[40]"])
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_features_are_what_attention_is_fed(tmp_path, spec, batch):
    bundle = bundle_of(spec)
    corpus = corpus_of(bundle, tmp_path)
    found = layer_features(bundle, corpus, bundle.schema.layouts[0], range(LAYERS + 1), batch)
    expected = np.stack(by_hand(bundle, corpus), axis=1)
    assert list(found) == [0, 1, 2, 3]
    for layer in found:
        assert found[layer].dtype == np.float32
        np.testing.assert_allclose(found[layer], expected[layer], rtol=1e-4, atol=1e-5)


def test_some_layers_are_the_same_as_among_all(tmp_path):
    bundle = bundle_of("image[4x4]")
    corpus, layout = corpus_of(bundle, tmp_path), bundle.schema.layouts[0]
    every = layer_features(bundle, corpus, layout, range(LAYERS + 1))
    some = layer_features(bundle, corpus, layout, [2, 0, 2])
    assert list(some) == [0, 2]
    assert all(np.array_equal(some[layer], every[layer]) for layer in some)


def test_layers_above_those_wanted_are_not_run(tmp_path):
    bundle = bundle_of("image[4x4]")
    corpus, layout = corpus_of(bundle, tmp_path), bundle.schema.layouts[0]
    torch.nn.init.constant_(bundle.gpt.layers[1].norm_2.weight, torch.nan)
    assert np.isfinite(layer_features(bundle, corpus, layout, [1])[1]).all()
    with pytest.raises(NotFiniteError):
        layer_features(bundle, corpus, layout, [2])


def test_what_is_longer_than_the_context_counts_every_token_once(tmp_path):
    """Embeddings depend on a token and its place; without places the mean is that of the tokens, however often seen."""
    bundle = bundle_of("text")
    torch.nn.init.zeros_(bundle.gpt.places.weight)
    corpus, layout = corpus_of(bundle, tmp_path), bundle.schema.layouts[0]
    found = layer_features(bundle, corpus, layout, [0])[0]
    vocabulary, first = bundle.schema.vocabulary, bundle.gpt.layers[0].norm_1
    for i, length in enumerate(LENGTHS):
        ids = corpus.example(i)["text"] + vocabulary.slice("text").start
        with torch.inference_mode():
            tokens = first(bundle.gpt.tokens(torch.from_numpy(np.concatenate([[0], ids]))))
        assert len(tokens) == length + 1
        np.testing.assert_allclose(found[i], tokens.mean(0).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layers", [[4], [-1, 2], []])
def test_other_layers_are_refused(tmp_path, layers):
    bundle = bundle_of("image[4x4]")
    with pytest.raises(ValueError, match=r"this model has 0 \(the embeddings\) to 3 \(the end\)"):
        layer_features(bundle, corpus_of(bundle, tmp_path), bundle.schema.layouts[0], layers)


def test_files_hold_no_pickles(tmp_path):
    bundle = bundle_of("image[4x4]")
    corpus = corpus_of(bundle, tmp_path / "corpus")
    found = {layer: np.full((8, 16), layer, np.float32) for layer in (1, 3)}
    labels = [label or "" for label in corpus.labels]
    said = {
        "names": corpus.names,
        "val": corpus.val,
        "labels": labels,
        "layout": bundle.schema.layouts[0],
        "skipped": {},
    }
    Features(layers={3: found[3]}, **said).save(tmp_path / "one")
    Features(layers=found, **said).save(tmp_path / "two.npz")
    with np.load(tmp_path / "one", allow_pickle=False) as one:
        assert sorted(one) == ["features", "labels", "layer", "names", "val"]
        assert one["layer"] == 3
        assert one["features"].shape == (8, 16)
        assert one["names"].tolist() == list("01234567")
        assert one["labels"].tolist() == ["", *"bababab"]
    with np.load(tmp_path / "two.npz", allow_pickle=False) as two:
        assert sorted(two) == ["features_1", "features_3", "labels", "layer", "names", "val"]
        assert two["layer"].tolist() == [1, 3]
        assert (two["features_3"] == 3).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "one", "two.npz"]


def test_a_model_of_labels_is_fed_the_open_condition_that_it_has_learned_with(tmp_path):
    bundle = bundle_of("style[1] image[4x4]")
    image = np.random.default_rng(0).integers(0, 4, (2, 16))

    def features(folder: str, **style: np.ndarray) -> np.ndarray:
        rows = [(str(i), "a", False, {**style, "image": each}) for i, each in enumerate(image)]
        corpus = write_corpus(tmp_path / folder, "style[1] image[4x4]", rows, dict.fromkeys((*style, "image"), 4))
        return layer_features(bundle, corpus, bundle.schema.layouts[0], [LAYERS])[LAYERS]

    style = bundle.sequencer.tokenizers["style"]
    told, left_open = (features(text or "open", style=style.encode(text)) for text in ("a", ""))
    assert not np.allclose(told, left_open)
    bundle.objective = Classify()
    np.testing.assert_allclose(features("labelled"), left_open, rtol=1e-5)
    np.testing.assert_allclose(features("again", style=style.encode("a")), left_open, rtol=1e-5)
