"""A run on several sources: figures of each, and the same batches after it was stopped and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from training_runs import fit, signalled_at, weights

from helicon.training.resuming import resumed_config
from helicon.training.run import run_lightning
from helicon.training.runs.metrics import read_metrics
from helicon.training.settings.mixed_paths import with_sources
from helicon.training.stopping import Interrupted
from helicon.training.usage_errors import UsageError

TEXT = ("--data.layouts=[text]", "--data.tokenizers={text: bytes}", "--model.slot_weights={}", "--model.dropout=0.1")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> tuple[Path, str]:
    """Two folders of texts, the first one's path, and the option that mixes them."""
    folder = tmp_path_factory.mktemp("mixed")
    for name in ("books", "code"):
        (folder / name).mkdir()
        for i in range(30):
            (folder / name / f"{i}.txt").write_text(f"{name} {i} " * (3 + i % 5))
    sources = [{"path": str(folder / "books"), "weight": 0.7}, {"path": str(folder / "code"), "weight": 0.3}]
    return folder / "books", f"--data.sources={json.dumps(sources)}"


def test_a_mixture_resumes_to_the_bit_twice_and_has_figures_of_each_source(mixed, tmp_path):
    folder, sources = mixed
    whole = fit(folder, tmp_path, "whole", *TEXT, sources)
    with signalled_at(3), pytest.raises(Interrupted):
        fit(folder, tmp_path, "stopped", *TEXT, sources)
    with signalled_at(7), pytest.raises(Interrupted):
        run_lightning("fit", resumed_config(tmp_path / "stopped"))
    run_lightning("fit", resumed_config(tmp_path / "stopped"))
    expected, resumed = weights(whole), weights(tmp_path / "stopped")
    assert all(torch.equal(resumed[name], tensor) for name, tensor in expected.items())
    metrics = read_metrics(whole)
    both = [metrics[f"val/text/{name}"][1][-1] for name in ("books", "code")]
    assert min(both) < metrics["val/text"][1][-1] < max(both)


BOTH = '--data.sources=[{"path": "a"}, {"path": "b"}]'
WEIGHTED = '--data.sources=[{"path": "a", "weight": 0.7}, {"path": "b", "weight": 0.3}]'
IN_CONFIG = "--config={data: {sources: [{path: a}]}}"


@pytest.mark.parametrize(
    ("words", "path", "expected"),
    [
        (["--data.path", "a", "--model.width=8"], None, ("a", ["--model.width=8"])),
        (["--data.path=a", "--x", "1", "--data.path", "b", "--data.weights", ".7,.3"], None,
         ("a", ["--x", "1", WEIGHTED])),
        (["--data.path=b", "--data.weights=[.7,.3]"], "a", ("a", [WEIGHTED])),
        (["--data.path=a", "--data.path=b"], None, ("a", [BOTH])),
        (["--data.sources=[{path: a}]"], None, ("a", ["--data.sources=[{path: a}]"])),
        ([IN_CONFIG], None, ("a", [IN_CONFIG])),
        (["--config={data: {sources: 3}}"], None, (None, ["--config={data: {sources: 3}}"])),
        (["--data.path"], None, (None, ["--data.path"])),
    ],
)  # fmt: skip
def test_several_paths_are_the_sources_of_a_mixture(words, path, expected):
    assert with_sources(words, path) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.path=a", "--data.weights=.7,.3"], "2 for 1 --data.path; one for each"),
        (["--data.path=a", "--data.path=b", "--data.weights=1,2,3"], "3 for 2 --data.path"),
        (["--data.weights=1"], "1 for 0 --data.path"),
        (["--data.path=a", "--data.path=b", "--data.weights=a,b"], r"a,b: numbers such as .7,.3 are accepted"),
    ],
)
def test_weights_are_one_for_each_path(words, message):
    with pytest.raises(UsageError, match=f"--data.weights:? ?.*{message}"):
        with_sources(words)
