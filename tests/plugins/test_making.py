"""Judges and steps of sampling of one's own, an objective, and what is said of those that give nonsense."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands.tiny_bundles import text_bundle
from test_plugin_commands import TINY, example, fresh, refusal, texts

import helicon
from helicon.bundle.storage import save_bundle
from helicon.cli import main
from helicon.generation.ranking import Candidates, judge_scores
from helicon.gpt.attention.patterns import parse_pattern
from helicon.gpt.sampler import STEPS, logits_processors
from helicon.plugins.loading import load_plugins
from helicon.plugins.plugin import PluginError
from helicon.sampling import SamplingOptions

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def run(home) -> str:
    """A text model that knows nothing."""
    save_bundle(text_bundle(), home / "run")
    return "run"


def test_an_option_of_sampling_is_stated_once(run, home, capsys):
    """By every door, and on record."""
    words = ["--min-p=0.2", "--top-k=30", "--sampler=typical:0.9", "--tokens=4", "--seed=3"]
    assert main(["generate", run, *words, "--plugin", example(home, "own_sampler_step")]) == 0
    settings = json.loads(Path("out/000.json").read_text())["settings"]
    assert {"min_p": 0.2, "top_k": 30, "sampler": ["typical:0.9"], "temperature": 1.0}.items() <= settings.items()
    assert "--top-k 30 --min-p 0.2 --sampler typical:0.9" in Path("out/index.html").read_text()
    (made,) = helicon.sample(run, seed=3, tokens=4, min_p=0.2, top_k=30, sampler=["typical:0.9"])
    assert made.media == Path("out/000.txt").read_text()
    assert "min_p: only tokens of at least P times" in (helicon.sample.__doc__ or "")
    with pytest.raises(ValueError, match="min_p 'x': a number is accepted"):
        helicon.sample(run, min_p="x")
    with pytest.raises(ValueError, match="style 3: a text is accepted"):
        helicon.sample(run, style=3)  # type: ignore[arg-type]


def test_typical_tokens_are_nearest_to_the_entropy(home):
    load_plugins([example(home, "own_sampler_step")])
    steps = [logits_processors(SamplingOptions(sampler=[f"typical:{share}"]))[-1] for share in (0.5, 0.1)]
    p = torch.tensor([[0.6, 0.2, 0.1, 0.1]])  # entropy 1.09 nats, surprises .51, 1.61, 2.30, 2.30
    kept = [step(p.log(), p > 1).exp().flatten().tolist() for step in steps]
    assert kept == [pytest.approx([0.6, 0.2, 0, 0]), pytest.approx([0, 0.2, 0, 0])]
    for text, said in (("typical:2", "above 0 and at most 1 is accepted, got 2"), ("typical", "missing 1 required")):
        with pytest.raises(ValueError, match=f"^--sampler {text}: .*{said}"):
            logits_processors(SamplingOptions(sampler=[text]))
    with pytest.raises(ValueError, match="unknown sampler step 'typicl'; nearest: typical"):
        logits_processors(SamplingOptions(sampler=["typicl:1"]))
    assert list(SamplingOptions.steps()) == [name for name in SamplingOptions.names() if name in STEPS]


NEEDED = r"torch\.float64 \[1, 257\] are needed$"
NONSENSE = {
    "a shape": ("logits[:, :1]", rf"logits torch\.float64 \[1, 1\], {NEEDED}"),
    "no logits": ("None", f"logits NoneType, {NEEDED}"),
    "NaN": ("logits * float('nan')", "logits that are NaN or infinite, or that leave no token$"),
    "infinite": ("logits + float('inf')", "logits that are NaN or infinite, or that leave no token$"),
    "nothing": ("logits - float('inf')", "logits that are NaN or infinite, or that leave no token$"),
    "an error": ("{}['k']", r"KeyError: 'k' \(line 4\)$"),
}


@pytest.mark.parametrize("what", NONSENSE)
def test_a_step_that_gives_nonsense(run, home, what, capsys):
    made, said = NONSENSE[what]
    (home / "wrong.py").write_text(
        "import helicon\n@helicon.register_sampler_step('wrong')\ndef wrong():\n"
        f"    return lambda logits, seen: {made}\n"
    )
    load_plugins(["wrong.py"])
    with pytest.raises(ValueError, match=rf"^sampler step 'wrong' \(.*wrong\.py, line 2\): {said}"):
        helicon.sample(run, tokens=2, sampler=["wrong"])


def test_a_judge_chooses(run, home, capsys):
    (home / "longest.py").write_text(
        "import helicon\n@helicon.register_judge('vowels')\ndef vowels(candidates):\n"
        "    return [sum(letter in 'aeiou' for letter in text) for text in candidates.media]\n"
        "@helicon.register_judge('none')\ndef none(candidates):\n    return [float('nan')] * len(candidates.ids)\n"
    )
    words = ["generate", run, "-n=2", "--best-of=5", "--tokens=40", "--plugin=longest.py", "--by"]
    assert main([*words, "vowels"]) == 0
    scores = [json.loads(Path(f"out/00{number}.json").read_text())["score"] for number in range(2)]
    everyone = helicon.sample(run, 5, tokens=40)
    counted = [sum(letter in "aeiou" for letter in item.media) for item in everyone]
    assert scores == sorted(counted, reverse=True)[:2]
    assert "judge 'none' (" in (line := refusal(capsys, *words, "none"))
    assert "longest.py, line 5): 5 finite numbers are needed" in line
    assert "unknown judge 'vowel'; nearest: vowels" in refusal(capsys, *words, "vowel")
    assert "--by vowels judges several: --best-of N" in refusal(capsys, "generate", run, "--by", "vowels")


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ("{}['k']", r"KeyError: 'k' \(line 4\)$"),
        ("None", r"2 finite numbers are needed, one a candidate \(.*NoneType"),
        ("['a', 'b']", r"2 finite numbers are needed, one a candidate \(.*str"),
        ("[1.0]", "2 finite numbers are needed, one a candidate$"),
        ("[float('inf')] * 2", "2 finite numbers are needed, one a candidate$"),
    ],
)
def test_a_judge_that_gives_nonsense(home, scores, said):
    (home / "wrong.py").write_text(
        f"import helicon\n@helicon.register_judge('wrong')\ndef wrong(candidates):\n    return {scores}\n"
    )
    load_plugins(["wrong.py"])
    bundle = text_bundle()
    with pytest.raises(PluginError, match=rf"^judge 'wrong' \(.*wrong\.py, line 2\): {said}"):
        judge_scores("wrong", Candidates(bundle, bundle.schema.layouts[0], {}, [np.zeros(1, np.int64)] * 2))


def test_the_most_colourful_picture_is_best(home):
    load_plugins([example(home, "own_judge")])
    judge = helicon.generation.ranking.JUDGES.get("colourful")
    grey, red = np.full((2, 2, 3), 128, np.uint8), np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 200

    class Two:
        media = (grey, red)

    assert judge(Two()) == pytest.approx([0, 0.3 * np.hypot(200, 100)])  # type: ignore[arg-type]


def test_an_objective_of_a_plugin(home, capsys):
    plugin, path = example(home, "own_objective"), str(texts(home))
    words = [f"--data.path={path}", "--data.layouts=[text]", "--data.tokenizer=bytes", "--task=quiet", "--name=run"]
    assert "unknown task 'quiet'" in refusal(capsys, "fit", *TINY, *words)
    assert main(["fit", *TINY, *words, "--model.activation=0.1", "--plugin", plugin]) == 0
    assert "train/activation" in Path("runs/run/metrics.csv").read_text()
    fresh()
    assert "needs the plugin own_objective.py" in refusal(capsys, "generate", "runs/run")
    assert main(["generate", "runs/run", "--tokens=4", "--plugin", plugin]) == 0


NAN = "{'text': helicon.Mean(loss.detach() * float('nan'), 1)"


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("loss[None]", r"objective 'wrong' \(.*wrong\.py, line 2\): its loss is \[1\]; a tensor of one number"),
        (
            "loss * float('nan')",
            r"objective 'wrong' \(.*wrong\.py, line 2\): its loss is nan at step 0, batch 0: .* A look at .*wrong\.py ",
        ),
        ("figures['x']", r"objective 'wrong' \(.*wrong\.py, line 2\): KeyError: 'x' \(line 7\)$"),
        (f"loss, {NAN}}} #", r"wrong\.py, line 2\): its metric 'text' is nan at step 0, batch 0: "),
        (
            f"loss, figures if network.training else {NAN}}} #",
            r"wrong\.py, line 2\): its metric 'text' of the validation is nan at step \d: ",
        ),
    ],
)
def test_an_objective_that_gives_nonsense(home, capsys, loss, said):
    (home / "wrong.py").write_text(
        "import helicon\n@helicon.register_objective('wrong')\n@__import__('dataclasses').dataclass(frozen=True)\n"
        "class Wrong(helicon.NextToken):\n    def loss(self, network, batch):\n"
        f"        loss, figures = super().loss(network, batch)\n        return {loss}, figures\n"
    )
    words = [f"--data.path={texts(home)}", "--data.layouts=[text]", "--data.tokenizer=bytes", "--task=wrong"]
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(refusal(capsys, "fit", *TINY, *words, "--plugin=wrong.py"))


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ("query - key", r"mask_mod gives torch\.int64 \[8, 8\]; torch\.bool \[8, 8\] is needed"),
        ("(query > 3)", r"mask_mod gives torch\.bool \[8, 1\]; torch\.bool"),
        ("query.nothing", "AttributeError: 'Tensor' object has no attribute 'nothing'"),
    ],
)
def test_a_pattern_that_gives_nonsense(home, mask, said):
    (home / "wrong.py").write_text(
        "import helicon, dataclasses\n@helicon.register_pattern\n@dataclasses.dataclass(frozen=True)\n"
        "class Wrong(helicon.AttentionPattern):\n    form = 'wrong'\n    def mask_mod(self, query, key):\n"
        f"        return {mask}\n"
    )
    load_plugins(["wrong.py"])
    with pytest.raises(ValueError, match=rf"^attention pattern 'wrong' \(.*wrong\.py, line \d\): {said}"):
        parse_pattern("wrong")
