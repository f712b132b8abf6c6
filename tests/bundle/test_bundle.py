"""A model on disk is whole: it comes back as it was, or says in one line what is wrong with which file."""

from __future__ import annotations

import json
import shutil
import struct
from functools import partial
from pathlib import Path

import damage
import pytest
import torch

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.storage import CONFIG, WEIGHTS, BundleError, load_bundle, save_bundle
from helicon.bundle.upsamplers import attach_bundle, upsamplers_of
from helicon.demos.composer import compose
from helicon.gpt.model import GPTConfig
from helicon.modalities import registry
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.text import BpeTokenizer


def small_bundle(shape: GPTConfig | None = None, positions: str = "flat") -> Bundle:
    """Untrained, for music, text and both."""
    surveys = [registry.get("music").survey(compose(seed)) for seed in range(3)]
    choices = {"music": "music", "style": "style", "text": "bpe"}
    tokenizers = {
        slot: registry.spec(slot, choices[slot]).fit(surveys, siblings=choices) for slot in ("music", "style")
    }
    tokenizers["text"] = BpeTokenizer.train(["ode to joy, ode to joy"], 262)
    layouts = [Layout.parse(spec) for spec in ("style[3] music", "text", "text[8] style[3] music")]
    sequencer = Sequencer(layouts, tokenizers, 64, positions)
    torch.manual_seed(0)
    return Bundle(
        gpt=make_gpt(shape or GPTConfig(layers=2, width=32, heads=2), sequencer.schema),
        sequencer=sequencer,
        tokenizer_names=choices,
        notes={"step": 3},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_bundle(small_bundle(), tmp_path / "run" / "model")
    return tmp_path / "run" / "model"


SHAPES = [
    GPTConfig(layers=2, width=32, heads=2),
    GPTConfig(
        layers=2, width=32, heads=4, pattern="dense,strided:8", mlp="swiglu", norm="rms", tied=False, bias=False,
        qk_norm=True,
    ),
    GPTConfig(layers=1, width=16, heads=1, pattern="fixed:8,2", mlp="relu2", dropout=0.5),
    GPTConfig(layers=1, width=32, heads=2, pattern="strided:8", mlp_ratio=1.5, qk_ratio=0.5, attention_ratio=0.5),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("positions", ["flat", "grid:8", "rope"])
def test_a_bundle_comes_back_as_it_was(tmp_path, shape, positions):
    bundle = small_bundle(shape, positions)
    save_bundle(bundle, tmp_path / "model")
    for path in (tmp_path, tmp_path / "model"):  # as a run, and by itself
        again = load_bundle(path)
        assert (again.gpt.config, again.tokenizer_names, again.notes) == (shape, bundle.tokenizer_names, {"step": 3})
        assert again.hash() == bundle.hash()
        assert again.schema.vocabulary == bundle.schema.vocabulary
        assert again.schema.axes == bundle.schema.axes
        layout = again.schema.layouts[0]
        example = {slot: t.encode(compose(5)) for slot, t in again.sequencer.tokenizers.items() if slot != "text"}
        packed, expected = (b.sequencer.pack(layout, example) for b in (again, bundle))
        assert packed.ids.tolist() == expected.ids.tolist()
        logits = []
        for model in (again.gpt.eval(), bundle.gpt.eval()):
            hidden = model(torch.from_numpy(packed.ids)[None], torch.from_numpy(packed.coord_ids)[None], layout.frame)
            logits.append(model.logits(hidden, slice(None)))
        assert torch.equal(*logits)


def test_dropout_is_off_in_what_was_loaded(folder):
    assert not load_bundle(folder).gpt.training


def test_the_hash_tells_every_weight():
    bundle = small_bundle()
    before = bundle.hash()
    bundle.gpt.norm.bias.data[3] += 1e-6
    assert bundle.hash() != before


def test_saving_again_replaces_whole_files(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(thing):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("helicon.formats.weights.save", fail)
    with pytest.raises(OSError, match="No space left"):
        save_bundle(small_bundle(), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


weights, raw, config = partial(damage.tensors, WEIGHTS), partial(damage.raw, WEIGHTS), partial(damage.values, CONFIG)


def text(content: bytes):
    return damage.raw(CONFIG, lambda _: content)


DAMAGE = {
    "truncated": (raw(lambda data: data[:-100]), WEIGHTS, "truncated or changed"),
    "cut in the header": (raw(lambda data: data[:50]), WEIGHTS, "truncated"),
    "empty": (raw(lambda data: b""), WEIGHTS, "truncated"),
    "trailing bytes": (raw(lambda data: data + b"\0"), WEIGHTS, "truncated or changed"),
    "a huge header": (raw(lambda data: struct.pack("<Q", 1 << 62) + data[8:]), WEIGHTS, "header claims"),
    "a header of nonsense": (raw(lambda data: data[:8] + b"x" + data[9:]), WEIGHTS, "header is damaged"),
    "a header that is a list": (raw(lambda data: struct.pack("<Q", 2) + b"[]"), WEIGHTS, "header is damaged"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), WEIGHTS, "missing"),
    "a missing tensor": (weights(lambda t: t.pop("norm.weight")), WEIGHTS, "missing norm.weight"),
    "an unknown tensor": (weights(lambda t: t.update(x=torch.ones(1))), WEIGHTS, "unexpected x"),
    "another shape": (
        weights(lambda t: t.update({"norm.weight": torch.ones(31)})), WEIGHTS,
        "norm.weight is [31], the config says [32]",
    ),
    "whole numbers": (
        weights(lambda t: t.update({"norm.weight": torch.ones(32).int()})), WEIGHTS, "norm.weight holds I32",
    ),
    "another width": (config(lambda c: c["gpt"].update(width=64)), WEIGHTS, "the config says"),
    "another vocabulary": (
        config(lambda c: c["tokenizers"]["style"]["state"]["labels"].append("new")), CONFIG, "it was saved with",
    ),
    "a renamed token": (
        config(lambda c: c["tokenizers"]["style"]["state"].update(labels=["new"])), CONFIG, "it was saved with",
    ),
    "not JSON": (text(b"{"), CONFIG, "not JSON"),
    "not text": (text(b"\xff\xfe\x00"), CONFIG, "not JSON"),
    "deep JSON": (text(b"[" * 100_000), CONFIG, "not JSON"),
    "a list": (text(b"[]"), CONFIG, "bundle format 'list'"),
    "a later format": (config(lambda c: c.update(format=99)), CONFIG, "bundle format 99"),
    "no layouts": (config(lambda c: c.pop("layouts")), CONFIG, "not a bundle this version can read"),
    "an odd layout": (config(lambda c: c.update(layouts=["music style[3]"])), CONFIG, "only the last slot"),
    "an unknown setting": (config(lambda c: c["gpt"].update(magic=1)), CONFIG, "not a bundle this version can read"),
    "an impossible width": (config(lambda c: c["gpt"].update(width=33)), CONFIG, "not a multiple of heads"),
    "an unknown modality": (
        config(lambda c: c["tokenizers"].update(smell=c["tokenizers"]["text"])), CONFIG, "unknown slot 'smell'",
    ),
    "an unknown tokenizer": (
        config(lambda c: c["tokenizers"]["text"].update(name="byte")), CONFIG, "'byte'; nearest: bytes",
    ),
    "a broken tokenizer": (
        config(lambda c: c["tokenizers"]["text"].update(state={})), CONFIG, "not a bundle this version can read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("harm", DAMAGE)
def test_damage_is_one_line_that_names_the_file(folder, harm):
    change, file, message = DAMAGE[harm]
    change(folder)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert str(folder / file) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_what_is_no_bundle_is_said(tmp_path):
    with pytest.raises(BundleError, match="nowhere: no such run or bundle"):
        load_bundle(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"neither a bundle \(bundle.json, model.safetensors\) nor a run"):
        load_bundle(tmp_path)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_upsamplers_are_bundles_of_a_bundle_the_coarsest_first(folder, tmp_path):
    assert upsamplers_of(folder) == []
    for level in (0, 10, 9):
        assert attach_bundle(folder, tmp_path / "onto", level) == tmp_path / "onto" / "upsamplers" / str(level)
    (tmp_path / "onto" / "upsamplers" / "8").mkdir()  # nothing in it
    (tmp_path / "onto" / "upsamplers" / "notes").mkdir()
    (tmp_path / "onto" / "upsamplers" / "notes" / CONFIG).write_text("{}")
    assert [path.name for path in upsamplers_of(tmp_path / "onto")] == ["10", "9", "0"]
    assert all(content(path) == content(folder) for path in upsamplers_of(tmp_path / "onto"))


def test_an_upsampler_is_attached_whole_or_not_at_all(folder, tmp_path, monkeypatch):
    onto = tmp_path / "onto"
    attach_bundle(folder, onto, 0)
    before = content(onto)
    save_bundle(small_bundle(positions="axes"), folder)
    whole = content(folder)
    (folder / "more").write_text("")  # which is none of a bundle's files

    def fail(source, target, length):
        target.write(source.read(100))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("helicon.bundle.upsamplers.shutil.copyfileobj", fail)
        with pytest.raises(OSError, match="No space left"):
            attach_bundle(folder, onto, 0)
    assert content(onto) == before
    assert [path.name for path in (onto / "upsamplers").iterdir()] == ["0"]
    attach_bundle(folder, onto, 0)
    assert content(onto / "upsamplers" / "0") == whole != before


def test_saving_again_leaves_the_upsamplers(folder):
    attach_bundle(folder, folder.parent / "up", 0)
    shutil.copytree(folder.parent / "up" / "upsamplers", folder / "upsamplers")
    save_bundle(small_bundle(), folder)
    assert [path.name for path in upsamplers_of(folder)] == ["0"]
    assert load_bundle(folder / "upsamplers" / "0").hash() == load_bundle(folder).hash()


def test_an_upsampler_of_another_run_is_not_replaced(folder, tmp_path):
    """Whatever a run's config says it is for."""
    onto = tmp_path / "onto"
    mine, other = (save_named(folder, tmp_path / name, name) for name in ("mine", "other"))
    attach_bundle(mine, onto, 0)
    before = content(onto)
    with pytest.raises(BundleError, match=r"upsamplers.0: holds the upsampler of mine, not of other"):
        attach_bundle(other, onto, 0)
    assert content(onto) == before


def save_named(folder: Path, target: Path, run: str) -> Path:
    shutil.copytree(folder, target)
    config = json.loads((target / CONFIG).read_text(encoding="utf-8"))
    (target / CONFIG).write_text(json.dumps({**config, "notes": {**config["notes"], "run": run}}), encoding="utf-8")
    return target
