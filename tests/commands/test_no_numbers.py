"""A model that computes no finite numbers is told by its name, whatever is asked of it; nothing is written."""

from __future__ import annotations

import pytest
import torch
from tiny_bundles import text_bundle

from helicon.bundle.storage import save_bundle
from helicon.cli import main


@pytest.fixture(params=["nan", "inf"])
def damaged(request, tmp_path, monkeypatch):
    """A bundle of such weights, beside a text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    bundle = text_bundle()
    with torch.no_grad():
        bundle.gpt.layers[0].mlp.out.weight.fill_(float(request.param))
    save_bundle(bundle, tmp_path / "damaged")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("an ode")
    return "damaged"


@pytest.mark.parametrize(
    "command",
    [
        ["generate", "--tokens", "5"],
        ["generate", "--tokens", "5", "--temperature", "0", "--dtype", "bf16"],
        ["generate", "--tokens", "5", "--top-p", "0.9", "--dtype", "int8"],
        ["eval", "--data.path", "texts"],
        ["features", "texts", "--layer", "all"],
    ],
    ids=" ".join,
)
def test_a_damaged_model_is_named(damaged, command, tmp_path, capsys):
    assert main([command[0], damaged, *command[1:]]) == 1
    assert (
        capsys.readouterr().err.splitlines()[-1].startswith("helicon: damaged: this model computes no finite numbers")
    )
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["damaged", "texts"]
