"""What an objective of one's own raises, or gives amiss, is one line with the file and line of its own code."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from commands.tiny_bundles import text_bundle

from helicon.data.collate import collate
from helicon.objectives.guarded import (
    build_network,
    drawing_of,
    loss_of,
    metrics_of,
    report_of,
    table_of,
    val_loss_of,
)  # fmt: skip
from helicon.objectives.next_token import NextToken
from helicon.objectives.registry import OBJECTIVES
from helicon.plugins.loading import load_plugins
from helicon.plugins.plugin import PluginError
from helicon.training.errors import TrainingError

pytestmark = pytest.mark.usefixtures("one_thread")
PLUGIN = """
import dataclasses, helicon, torch
from helicon.training.errors import TrainingError

@helicon.register_objective("mine")
@dataclasses.dataclass(frozen=True)
class Mine(helicon.NextToken):
    kept = {kept}
    def {method}:
        {body}
"""
LOSS = "loss, figures = helicon.NextToken.loss(self, network, batch); return "
NO_MEAN = r"a helicon\.Mean of a tensor of one number"
ONE = "loss(self, network, batch)"
CASES = [
    ("build(self, bundle)", "return {}['k']", r"KeyError: 'k' \(line 10\)$"),
    ("build(self, bundle)", "return torch.nn.Linear(2, 2)", r"build gives Linear; a helicon\.Network is needed"),
    (ONE, "return {}['k']", r"KeyError: 'k' \(line 10\)$"),
    (ONE, "raise ValueError('bad\\nbatch')", r"ValueError: bad batch \(line 10\)$"),
    (ONE, "network.gpt(batch)", r"TypeError: .* \(line 10\)$"),  # raised deeper
    ("loss(self, network)", "return 0", r"TypeError: Mine\.loss\(\) takes 2 positional arguments but 3 were given$"),
    (ONE, LOSS + "loss", r"loss gives \[\]; \(loss, figures\) are needed"),
    (ONE, "pass", r"loss gives NoneType; \(loss, figures\)"),
    (ONE, LOSS + "3, figures", r"its loss is int; a tensor of one number"),
    (ONE, LOSS + "loss[None], figures", r"its loss is \[1\]; a tensor of one number"),
    (ONE, LOSS + "loss.long(), figures", r"its loss is \[\] of torch\.int64; a tensor"),
    (ONE, LOSS + "loss.detach(), figures", r"its loss has no gradient"),
    (ONE, LOSS + "loss, None", r"its figures are NoneType; a dict"),
    (ONE, LOSS + "loss, {'other': figures['text']}", r"its loss gives a figure 'other', its metrics are text"),
    (ONE, LOSS + "loss, {}", r"its loss gives no figure, its metrics are text; one or more are needed"),
    (ONE, LOSS + "loss, {'text': 3.0}", rf"its figure 'text' is float; {NO_MEAN}"),
    (ONE, LOSS + "loss, {'text': (loss, 1, 2)}", rf"its figure 'text' is tuple; {NO_MEAN}"),
    (
        ONE, LOSS + "loss, {'text': helicon.Mean(torch.zeros(3), 1)}",
        rf"its figure 'text' is Mean\(\[3\], int\); {NO_MEAN}",
    ),
    ("metrics(self, network)", "return network.x", r"AttributeError: .*'x' \(line 10\)$"),
    ("metrics(self, network)", "return 'text'", r"metrics gives str; a list of names"),
    (
        "val_loss(self, network, means)", "return means['none']",
        r"KeyError: .no figure 'none' in the validation; its loss gave text. \(line 10\)$",
    ),
    ("val_loss(self, network, means)", "return None", r"val_loss gives NoneType; a number"),
    ("report(self, network, batches)", "return {}['k']", r"KeyError: 'k' \(line 10\)$"),
    ("report(self, network, batches)", "return [1]", r"report gives list; a dict"),
    ("report(self, network, batches)", "return {'a': torch.ones(1)}", r"report gives what is no JSON \(.*Tensor"),
    ("table(self, report)", "return report['k']", r"KeyError: 'k' \(line 10\)$"),
    ("table(self, report)", "return 'line'", r"table gives str; a list of lines"),
    ("draw(self, report, path)", "return report['k']", r"KeyError: 'k' \(line 10\)$"),
    ("draw(self, report, path)", "return 'text'", r"draw gives a caption and no picture"),
    ("draw(self, report, path)", "return None", r"draw gives NoneType"),
]  # fmt: skip


def call(method: str, home) -> None:
    """What a training, `eval` and a page do with an objective, up to what a method is for."""
    objective = OBJECTIVES.get("mine")()
    bundle = replace(text_bundle(), objective=objective)
    network = build_network(objective, bundle)
    batch = collate(0, [bundle.sequencer.pack(bundle.schema.layouts[0], {"text": torch.arange(9).numpy()})])
    calls = {
        "build": lambda: None,
        "loss": lambda: loss_of(objective, network, batch),
        "metrics": lambda: metrics_of(objective, network),
        "val_loss": lambda: val_loss_of(objective, network, {"text": 1.0}),
        "report": lambda: report_of(objective, network, [batch]),
        "table": lambda: table_of(objective, {}),
        "draw": lambda: drawing_of(objective, {}, home / "a.png"),
    }
    calls[method.partition("(")[0]]()


def write(home, method: str, body: str, kept: str = "()") -> None:
    (home / "mine.py").write_text(PLUGIN.format(method=method, body=body, kept=kept))
    load_plugins(["mine.py"])


@pytest.mark.parametrize(("method", "body", "said"), CASES)
def test_a_mistake_of_an_objective(home, method, body, said):
    write(home, method, body)
    with pytest.raises(PluginError, match=rf"^objective 'mine' \({home}/mine\.py, line 5\): {said}") as caught:
        call(method, home)
    if said.endswith("$"):
        assert caught.value.__cause__ is not None


@pytest.mark.parametrize("name", ["nope", "gpt"])
def test_what_is_kept_is_looked_for_before_any_training(home, name):
    write(home, "table(self, report)", "return []", f"({name!r},)")
    with pytest.raises(PluginError, match=rf"mine\.py, line 5\): kept names '{name}'; .* beside the GPT are: none$"):
        call("build", home)


def test_errors_that_are_not_its_own_stay_as_they_are(home):
    """Those of Helicon's own types, a full device, and what fails below without any line of the plugin."""
    for body, kind in (("raise TrainingError('full')", TrainingError), ("raise KeyboardInterrupt", KeyboardInterrupt),
                       ("raise torch.OutOfMemoryError('full')", torch.OutOfMemoryError)):  # fmt: skip
        write(home, ONE, body)
        with pytest.raises(kind):
            call("loss", home)
    write(home, "table(self, report)", "return []")
    objective = OBJECTIVES.get("mine")()
    with pytest.raises(AttributeError, match="hidden"):
        loss_of(objective, torch.nn.Linear(1, 1), None)  # type: ignore[arg-type]


def test_an_objective_without_a_name_is_refused():
    class Nameless(NextToken):
        pass

    with pytest.raises(PluginError, match=r"^Nameless: an objective needs a name; @helicon\.register_objective gives"):
        _ = replace(text_bundle(), objective=Nameless()).network


def test_a_bug_of_helicon_is_not_told_as_a_plugin_s():
    with pytest.raises(AttributeError), OBJECTIVES.running("gpt"):
        _ = torch.nothing  # type: ignore[attr-defined]
