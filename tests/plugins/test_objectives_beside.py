"""What an objective of one's own has beside the GPT: a frozen reference, and what its bundle keeps of it."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands.tiny_bundles import text_bundle
from test_plugin_commands import TINY, texts

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import load_bundle, save_bundle
from helicon.cli import main
from helicon.data.collate import collate
from helicon.objectives.guarded import try_report
from helicon.objectives.registry import OBJECTIVES
from helicon.plugins.loading import load_plugins
from helicon.plugins.plugin import PluginError
from helicon.training.runs.checkpoints import latest_checkpoint, read_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")
FIT = (
    *(word for word in TINY if not word.startswith("--model.context")), "--model.context=16", "--model.tied=false",
    "--model.dropout=0", "--data.layouts=[text]", "--data.tokenizer=bytes", "--data.init_from=base", "--task=away",
    "--name=run", "--trainer.log_every_n_steps=1", "--plugin=away.py",
)  # fmt: skip
PLUGIN = """
import copy, dataclasses, helicon, torch

class Head(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.value = torch.nn.Linear(width, 1)
        self.register_buffer("scale", torch.full((width,), 2.0), persistent=False)

    def forward(self, x):
        return self.value(x * self.scale)

@helicon.register_objective("away")
@dataclasses.dataclass(frozen=True)
class Away(helicon.NextToken):
    kept = ("head",)

    def build(self, bundle):
        network = super().build(bundle)
        network.head, network.act = Head(bundle.gpt.config.width), torch.nn.Tanh()
        network.reference = copy.deepcopy(bundle.gpt).eval().requires_grad_(False)
        return network

    def loss(self, network, batch):
        loss, figures = super().loss(network, batch)
        hidden = network.hidden(batch)
        pairs = zip(network.gpt.parameters(), network.reference.parameters())
        drift = torch.stack([(new - old).abs().max().detach() for new, old in pairs if old.numel()]).max()
        return loss + network.head(hidden).square().mean(), {**figures, "drift": helicon.Mean(drift, 1)}

    def metrics(self, network):
        return [*super().metrics(network), "drift"]

    def report(self, network, batches):
        with torch.no_grad():
            values = [network.act(network.head(network.hidden(batch))).mean() for batch in batches]
        return {"value": float(torch.stack(values).mean())}

    def table(self, report):
        return [f"value {report['value']:.6f}"]
"""


@pytest.fixture
def base(home) -> Bundle:
    """What runs begin from, at `base`; the plugin `away.py` and texts beside it."""
    (home / "away.py").write_text(PLUGIN)
    texts(home)
    load_plugins(["away.py"])
    found = text_bundle()
    with torch.no_grad():
        for weight in found.gpt.parameters():
            weight.add_(torch.rand_like(weight))
    save_bundle(found, home / "base")
    return found


def drift() -> list[float]:
    """How far the GPT was from its reference at each step."""
    with Path("runs/run/metrics.csv").open() as file:
        return [float(row["train/drift"]) for row in csv.DictReader(file) if row["train/drift"]]


def test_a_reference_is_what_a_run_begins_from(base, home):
    assert main(["fit", "--data.path=texts", *FIT]) == 0
    first, second = drift()
    assert first == 0 < second
    save_bundle(text_bundle(), home / "base")  # another model than the run began from
    on = ["--config=runs/run/config.yaml", "--ckpt_path=last", "--trainer.max_steps=3", "--plugin=away.py"]
    assert main(["fit", "--name=run", *on]) == 0
    path, _ = latest_checkpoint(Path("runs/run"))
    state = read_checkpoint(path)["state_dict"]
    for name, weight in base.gpt.state_dict().items():
        assert torch.equal(state[f"network.reference.{name}"], weight), name


REPORTS = (  # what a report does with parts that are not kept
    ("return {'value': float(network.reference.head_weight.sum())}", "AttributeError: .* no attribute 'reference'"),
    ("return {'value': float(self.loss(network, next(iter(batches)))[0])}", "AttributeError: .* attribute 'reference'"),
    ("return {'value': float(network.reference is None)}", "AttributeError: .*"),
    ("return {'value': hasattr(network, 'reference')}", None),
    ("return {'value': network.head.nothing}", None),  # fails of something else, which is found when it is asked for
)


@pytest.mark.parametrize(("report", "said"), REPORTS)
def test_a_report_of_what_is_not_kept_is_refused_before_the_training(base, home, report, said):
    objective = OBJECTIVES.get("away")
    own = {}
    exec(f"def report(self, network, batches):\n    {report}", own)
    bundle = replace(base, objective=objective())
    batch = collate(0, [bundle.sequencer.pack(bundle.schema.layouts[0], {"text": torch.arange(9).numpy()})])
    network = bundle.network.train()
    network.reference.eval()
    modes = {name: module.training for name, module in network.named_modules()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objective, "report", own["report"])
        if said is None:
            try_report(objective(), network, batch)
        else:
            what = rf"report fails without reference, which the bundle lacks \({said}\); name what it needs in kept$"
            with pytest.raises(PluginError, match=rf"^objective 'away' \(.*away\.py, line 13\): {what}"):
                try_report(objective(), network, batch)
    assert {name: module.training for name, module in network.named_modules()} == modes
    assert "reference" in dict(network.named_children())


def test_a_training_begins_with_the_trial(base, home, capsys):
    text = PLUGIN.replace("network.act(network.head", "network.reference and network.act(network.head")
    (home / "away.py").write_text(text)
    assert main(["fit", "--data.path=texts", *FIT]) == 1
    assert "report fails without reference, which the bundle lacks" in capsys.readouterr().err.splitlines()[-1]
    assert not Path("runs/run/checkpoints").exists()


def test_what_is_kept_is_whole_and_what_is_not_is_absent(base, home, capsys):
    bundle = replace(base, objective=OBJECTIVES.get("away")())
    save_bundle(bundle, home / "model")
    state, read = torch.get_rng_state(), load_bundle(home / "model")
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(tensor.is_meta for tensor in [*read.network.parameters(), *read.network.buffers()])
    assert read.network.head.scale.tolist() == [2.0] * 16
    assert torch.equal(read.network.head.value.weight, bundle.network.head.value.weight)
    assert read.network.gpt is read.gpt
    assert not read.network.training
    assert sorted(name for name, _ in read.network.named_children()) == ["act", "gpt", "head"]
    assert main(["export", "model", "-o", "exported"]) == 0
    assert "left out   head of the objective away, which has no place there" in capsys.readouterr().err
    with pytest.raises(AttributeError, match="no attribute 'reference'"):
        _ = read.network.reference
    assert main(["generate", "model", "--tokens=2", "--plugin=away.py"]) == 0
    capsys.readouterr()
    assert main(["eval", "model", "--data.path=texts", "--plugin=away.py"]) == 0
    assert re.search(r"^value -?0\.\d+$", capsys.readouterr().out, re.MULTILINE)
