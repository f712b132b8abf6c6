"""Names, notes, labels and captions of strangers: nothing that a terminal obeys reaches terminal, page or JSON."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import harness
import numpy as np
import pytest
import torch

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.storage import CONFIG, save_bundle
from helicon.cli import main
from helicon.formats.midi_write import write_midi
from helicon.formats.page import PageItem, write_page
from helicon.gpt.model import GPTConfig
from helicon.sequence.layout import Layout
from helicon.tokenizers.instruments import MUSENET
from helicon.tokenizers.midi import MidiTokenizer
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.style import StyleTokenizer, all_sets

sys.path.append(str(Path(__file__).parents[1] / "commands"))
from tiny_bundles import tune

# Of a terminal: colours, its title, erasing, C1, the direction of what follows; line ends; half a surrogate
HOSTILE = "\x1b[31m\x1b]0;pwn\x07\x1b[2J\x9b31m\x7f\u202e\u2066\u2028\r\x08"
NAME = HOSTILE.replace("\r", "") + "x"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A bundle whose notes and labels are hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    style = StyleTokenizer(MUSENET, ["bach", HOSTILE], [*all_sets(MUSENET)[:3], HOSTILE + "2"])
    sequencer = Sequencer([Layout.parse("style[3] music")], {"style": style, "music": MidiTokenizer(MUSENET)}, 32)
    torch.manual_seed(0)
    gpt = make_gpt(GPTConfig(layers=1, width=8, heads=2), sequencer.schema)
    save_bundle(
        Bundle(
            gpt=gpt, sequencer=sequencer, tokenizer_names={"style": "style", "music": "musenet"}, notes={"run": HOSTILE}
        ),
        folder / "model",
    )
    return folder / "model"


def assert_shown(text: str) -> None:
    """Only line ends and tabs beside what any terminal shows as it is; the progress line's own return to its start."""
    left = text.replace("\n", "").replace("\t", "")
    assert left.isprintable(), ascii([c for c in left if not c.isprintable()])


@pytest.mark.parametrize("arguments", [["info"], ["info", "--json"]])
def test_info(model, capsys, arguments):
    assert main([*arguments, str(model)]) == 0
    out, err = capsys.readouterr()
    assert_shown(out + err)
    assert "pwn" in out
    if "--json" in arguments:
        assert json.loads(out)["notes"] == {"run": HOSTILE}


def test_json_of_a_bundle(model):
    text = (model / CONFIG).read_text(encoding="utf-8")
    assert_shown(text)
    assert json.loads(text)["notes"] == {"run": HOSTILE}


def test_files_that_are_skipped(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    write_midi(tune([60, 62, 64] * 9), data / "a.mid")
    (data / f"{NAME}.mid").write_bytes(b"MThd")
    assert main(["eval", str(model), "--data.path", str(data)]) == 0
    out, err = capsys.readouterr()
    assert_shown(out + err)
    assert "pwn" in out
    assert main(["features", str(model), str(data), "--layer", "0", "-o", str(tmp_path / "f.npz")]) == 0
    assert_shown("".join(capsys.readouterr()))


@pytest.mark.parametrize(
    "arguments",
    [
        ["tokenize", f"{NAME}.mid"],
        ["tokenize", "a.mid", "--run", NAME],
        ["info", NAME],
        ["generate", NAME],
        ["generate", "MODEL", "--style", HOSTILE],
        ["generate", "MODEL", "--prime", f"{NAME}.mid"],
        ["generate", "MODEL", f"--{NAME}", "1"],
        ["import", NAME, "-o", "out"],
        ["detokenize", NAME, "-o", "out"],
        [NAME],
        ["info", "MODEL", f"--{NAME}"],
    ],
    ids=range(11),
)
def test_errors(model, tmp_path, capsys, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert main([str(model) if word == "MODEL" else word for word in arguments]) != 0
    out, err = capsys.readouterr()
    assert_shown(out + err)
    assert "pwn" in err
    assert len(err.splitlines()) == 1


def test_words_as_they_are_made(model, tmp_path, capsys):
    from helicon.commands.generate import SamplingProgress

    blocks = {"style": SimpleNamespace(block=SimpleNamespace(tokens=[HOSTILE, "b"]))}
    watch = SamplingProgress(SimpleNamespace(sequencer=SimpleNamespace(tokenizers=blocks)), "style", True)  # type: ignore[arg-type]
    prompt = SimpleNamespace(prime=[])
    watch.on_step([SimpleNamespace(new_tokens=1, ids=np.zeros(1, np.int64), request=SimpleNamespace(prompt=prompt))])  # type: ignore[list-item]
    assert_shown(capsys.readouterr().out)


def test_pages(tmp_path):
    item = PageItem(title=HOSTILE, caption=HOSTILE, text=HOSTILE, files=["a.txt"])
    write_page(tmp_path / "a.html", HOSTILE, HOSTILE, [item], [(HOSTILE, "a.png")], {HOSTILE: HOSTILE}, [HOSTILE])
    assert_shown((tmp_path / "a.html").read_text(encoding="utf-8"))


def test_json_of_deep_notes_is_not_laid_out(model, tmp_path):
    """Each value would be indented by its depth."""
    config = json.loads((model / CONFIG).read_text())
    deep: list = [1] * 50_000
    for _ in range(900):
        deep = [deep]
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model" / CONFIG).write_text(json.dumps(config | {"notes": {"x": deep}}))
    ended = harness.command(["info", "--json", str(tmp_path / "model")])
    ended.is_cheap()
    assert len(ended.out) < 1_000_000
