"""The loss, its gradients, accumulation, fine-tuning, and what is refused before the first step."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from training_runs import arguments, fit, weights

from helicon.bundle.storage import load_bundle
from helicon.cli import main
from helicon.demos.composer import write_folder
from helicon.gpt.model import GPT
from helicon.objectives.next_token import NextToken
from helicon.training.learning.module import GPTModule
from helicon.training.runs.metrics import read_metrics
from helicon.training.settings.config import GPTModelConfig


def gradients(midi: Path, runs: Path, name: str, monkeypatch, *extra: str) -> dict[str, torch.Tensor]:
    """Of the first step, before they are clipped."""
    found: dict[str, torch.Tensor] = {}

    def clip(self: GPTModule, optimizer, **kwargs) -> None:
        found.update({n: p.grad.clone() for n, p in self.named_parameters() if p.grad is not None})
        assert found.keys() == dict(self.named_parameters()).keys()

    monkeypatch.setattr(GPTModule, "configure_gradient_clipping", clip)
    fit(midi, runs, name, "--trainer.max_steps=1", *extra)
    return found


def test_recomputing_activations_changes_no_gradient(midi_folder, tmp_path, monkeypatch):
    kept = gradients(midi_folder, tmp_path, "kept", monkeypatch, "--model.dropout=0.1")
    recomputed = gradients(
        midi_folder, tmp_path, "again", monkeypatch, "--model.dropout=0.1", "--model.activation_checkpointing=true"
    )
    for name, gradient in kept.items():
        torch.testing.assert_close(recomputed[name], gradient, atol=0, rtol=0)


@pytest.mark.parametrize("tied", ["true", "false"])
def test_every_parameter_has_a_gradient_whatever_the_batch_has(midi_folder, tmp_path, monkeypatch, tied):
    found = gradients(midi_folder, tmp_path, "run", monkeypatch, f"--model.tied={tied}", "--data.layouts+=music")
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert all(gradient.any() for gradient in found.values())


def test_accumulated_batches_count_as_one(midi_folder, tmp_path, monkeypatch):
    """Batches 0 and 1 of 4 sequences, and the mean of their gradients."""
    step = GPTModule.training_step
    batches = []
    monkeypatch.setattr(
        GPTModule, "training_step", lambda self, batch, i: (batches.append(batch), step(self, batch, i))[1]
    )
    same = ("--model.dropout=0", "--trainer.limit_val_batches=0")
    both = gradients(midi_folder, tmp_path, "both", monkeypatch, *same, "--trainer.accumulate_grad_batches=2")
    assert len(batches) == 2
    assert not torch.equal(batches[0].ids, batches[1].ids)
    first = gradients(midi_folder, tmp_path, "first", monkeypatch, *same)
    assert torch.equal(batches[2].ids, batches[0].ids)
    monkeypatch.setattr(GPTModule, "training_step", lambda self, batch, i: step(self, batches[1], i))
    second = gradients(midi_folder, tmp_path, "second", monkeypatch, *same)
    for name, gradient in both.items():
        torch.testing.assert_close(gradient, (first[name] + second[name]) / 2, atol=1e-6, rtol=1e-4)


def test_dropout_differs_from_batch_to_batch(midi_folder, tmp_path, monkeypatch):
    step, seeds = GPTModule.training_step, []

    def training_step(self: GPTModule, batch, batch_idx):
        seeds.append(torch.initial_seed())
        return step(self, batch, batch_idx)

    monkeypatch.setattr(GPTModule, "training_step", training_step)
    fit(midi_folder, tmp_path, "run", "--trainer.max_steps=3", "--trainer.accumulate_grad_batches=2")
    assert len(set(seeds)) == len(seeds) == 6


def test_a_second_pass_over_the_loader_goes_on_where_the_first_ended(midi_folder, tmp_path):
    """Lightning's `limit_train_batches` makes epochs of an endless stream."""
    one = fit(midi_folder, tmp_path, "one", "--trainer.limit_val_batches=0", "--model.dropout=0")
    few = fit(midi_folder, tmp_path, "few", "--trainer.limit_train_batches=5", "--trainer.val_check_interval=1.0",
              "--trainer.limit_val_batches=0", "--model.dropout=0")  # fmt: skip
    assert read_metrics(few)["train/music"] == read_metrics(one)["train/music"]


def test_fine_tuning_starts_from_what_the_bundle_knows(midi_folder, tmp_path):
    base = fit(midi_folder, tmp_path, "base")
    mine = tmp_path / "mine"
    write_folder(tmp_path / "more", 4, seed=3)
    shutil.move(next((tmp_path / "more").iterdir()), mine / "my-band")
    tuned = fit(mine, tmp_path, "tuned", "--data.init_from", str(base), "--model.lr=0", "--trainer.max_steps=1")
    old, new = load_bundle(base), load_bundle(tuned)
    style = new.schema.vocabulary.slice("style")
    assert new.sequencer.tokenizers["style"].block.tokens.count("my-band") == 1
    assert len(new.schema.vocabulary) == len(old.schema.vocabulary) + 1
    pairs = dict(new.schema.vocabulary.rows_from(old.schema.vocabulary))
    theirs, ours = old.gpt.tokens.weight, new.gpt.tokens.weight
    assert all(torch.equal(ours[here], theirs[there]) for here, there in pairs.items())
    added = style.start + new.sequencer.tokenizers["style"].block.index["my-band"]
    assert set(range(len(new.schema.vocabulary))) - pairs.keys() == {added}
    expected = theirs[old.schema.vocabulary.slice("style")].mean(0)
    torch.testing.assert_close(ours[added], expected)
    assert torch.equal(old.gpt.places.weight, new.gpt.places.weight)
    assert torch.equal(old.gpt.layers[1].mlp.out.weight, new.gpt.layers[1].mlp.out.weight)


def test_a_bundle_of_another_shape_cannot_be_tuned(midi_folder, tmp_path, capsys):
    base = fit(midi_folder, tmp_path, "base", "--trainer.max_steps=1")
    args = arguments(midi_folder, tmp_path, "other", "--data.init_from", str(base), "--model.width=16")
    assert main(["fit", *args]) == 1
    assert "cannot start from that bundle: it has [32" in capsys.readouterr().err


def test_an_adopted_tokenizer_keeps_its_kind(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("abc " * 100)
    args = ("--data.layouts=[text]", "--trainer.max_steps=1", "--model.slot_weights={}")
    base = fit(tmp_path / "texts", tmp_path, "base", *args, "--data.tokenizers={text: bytes}")
    tuned = fit(tmp_path / "texts", tmp_path, "tuned", *args, "--data.init_from", str(base))
    assert load_bundle(tuned).tokenizer_names == {"text": "bytes"}


def test_the_size_of_a_learned_vocabulary_is_what_was_asked_for(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text(" ".join(f"word{i} other{i % 7}" for i in range(500)))
    args = ("--data.layouts=[text]", "--trainer.max_steps=1", "--model.slot_weights={}", "--data.vocabulary=300")
    run = fit(tmp_path / "texts", tmp_path, "run", *args)
    assert len(load_bundle(run).sequencer.tokenizers["text"].block) == 300


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--model.laters=3", "unknown option '--model.laters'; nearest: --model.layers"),
        ("--model.layer=3", "unknown option '--model.layer'; nearest: --model.layers"),
        ("--config=musik", "unknown preset or config file 'musik'; nearest: music"),
        ("--model.mlp=gelux", "gelux"),
        ("--model.pattern=denze", "did you mean 'dense'"),
        ("--model.slot_weights={musik: 1}", "unknown slot 'musik'; nearest: music"),
        ("--model.slot_weights={music: 0}", "learns nothing"),
        ("--data.tokenizers={musik: music}", "unknown slot 'musik'; nearest: music"),
        ("--data.tokenizers={music: musenett}", "unknown tokenizer for music 'musenett'; nearest: musenet"),
        ("--data.tokenizers={style: labels}", "unknown tokenizer for style 'labels'; known: style"),
        ("--data.layouts+=musik", "unknown slot 'musik'; nearest: music"),
        ("--data.batch_size=zero", "batch_size"),
        ("--data.batch_size=0", "batch_size"),
    ],
)
def test_a_wrong_argument_is_one_line_with_the_nearest_names(midi_folder, tmp_path, capsys, argument, said):
    assert main(["fit", *arguments(midi_folder, tmp_path, "run", argument)]) in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in error
    assert error.startswith("helicon: ")


def test_bfloat16_trains(midi_folder, tmp_path):
    run = fit(midi_folder, tmp_path, "run", "--trainer.precision=bf16-mixed")
    values = read_metrics(run)["train/music"][1]
    assert values[-1] < values[0]
    assert all(tensor.dtype == torch.float32 for tensor in weights(run).values())


def test_fewer_pieces_than_a_batch_are_enough(tmp_path):
    write_folder(tmp_path / "midi", 2, seed=1)
    run = fit(tmp_path / "midi", tmp_path, "run", "--data.batch_size=8", "--trainer.max_steps=2")
    assert len(read_metrics(run)["train/music"][1]) == 2


def test_the_last_steps_are_validated_too(midi_folder, tmp_path):
    run = fit(midi_folder, tmp_path, "run", "--trainer.max_steps=5", "--trainer.val_check_interval=3")
    assert read_metrics(run)["val/loss"][0] == [2, 4]


@pytest.mark.parametrize("rank", [0, 1])
def test_the_first_process_alone_writes_the_bundle(monkeypatch, tmp_path, rank):
    """Of several that have the same weights, for which nothing else tells it."""
    module, written = GPTModule(GPTModelConfig(layers=1, width=16, heads=1), NextToken()), []
    bundle = SimpleNamespace(gpt=GPT(module.config.gpt, 9, 4), schema=None)
    monkeypatch.setattr(GPTModule, "global_rank", property(lambda self: rank))
    monkeypatch.setattr(GPTModule, "bundle", lambda self, notes: bundle)
    monkeypatch.setattr("helicon.training.learning.module.unsharded", lambda gpt, make, first: gpt)
    monkeypatch.setattr("helicon.training.learning.module.save_bundle", lambda bundle, folder: written.append(folder))
    module.save(tmp_path, {})
    assert written == [tmp_path][rank:]
