"""What plugins add is found by every command: trained, gone on with, and made with from another folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from plugins.loaded import fresh

import helicon
from helicon.cli import main
from helicon.plugins.loading import PluginWarning
from helicon.training.runs.folders import read_config
from helicon.training.stages import make_request

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TINY = (
    "--model.layers=1", "--model.width=16", "--model.heads=2", "--model.context=32", "--data.batch_size=2",
    "--trainer.accelerator=cpu", "--trainer.max_steps=2", "--trainer.val_check_interval=2", "--samples=false",
)  # fmt: skip
pytestmark = pytest.mark.usefixtures("one_thread")


def example(home: Path, name: str) -> str:
    """A copy of an example, which a test may change."""
    return str(shutil.copy(EXAMPLES / f"{name}.py", home / f"{name}.py"))


def steps(home: Path) -> Path:
    """Patterns of drums."""
    (home / "steps").mkdir()
    for number in range(8):
        (home / "steps" / f"{number}.steps").write_text("x---x---\n----x---\nx-x-x-xx\n" if number % 2 else "x-\n" * 3)
    return home / "steps"


def texts(home: Path) -> Path:
    (home / "texts").mkdir()
    for number in range(4):
        (home / "texts" / f"{number}.txt").write_text(f"line {number} of a short text\n" * 4)
    return home / "texts"


def refusal(capsys, *words: str) -> str:
    """The one line of an error."""
    capsys.readouterr()
    assert main(words) in (1, 2)
    return capsys.readouterr().err.strip().splitlines()[-1]


@pytest.fixture
def trained(home, monkeypatch) -> str:
    """The plugin by which a run of drum patterns was trained; the current folder is another one."""
    plugin = example(home, "own_modality")
    words = ["--data.path", str(steps(home)), "--data.layouts=[steps]", "--runs", str(home / "runs"), "--name=drums"]
    assert main(["fit", *words, "--data.longest=6", *TINY, "--plugin", "own_modality.py"]) == 0
    fresh()
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")
    return plugin


def test_a_modality_of_a_plugin_is_known_to_every_command(trained, home, capsys):
    run = str(home / "runs" / "drums")
    (stamp,) = json.loads((home / "runs" / "drums" / "model" / "bundle.json").read_text())["plugins"]
    assert read_config(Path(run))["plugins"] == [f"{home}/{stamp}"]
    missing = f"needs the plugin own_modality.py (sha256 {stamp.partition('=')[2][:12]}), which is not loaded"
    path = str(home / "steps")
    for words in (["generate", run], ["info", run], ["eval", run, "--data.path", path], ["features", run, path],
                  ["tokenize", f"{path}/1.steps", "--run", run]):  # fmt: skip
        more = ["--layer=0"] if words[0] == "features" else []
        assert f"{run}/model/bundle.json: {missing}" in refusal(capsys, *words, *more)
        assert main([*words, *more, "--plugin", trained]) == 0
        fresh()
    made = Path("out/000.steps").read_text().splitlines()
    assert len(made) == 3
    assert f"--plugin {trained}" in Path("out/index.html").read_text()
    with pytest.raises(ValueError, match="needs the plugin own_modality"):
        helicon.load(run)
    assert helicon.load(run, plugins=[trained]).plugins()


def test_a_run_is_gone_on_with_by_whoever_names_its_plugins(trained, home, capsys):
    run = str(home / "runs" / "drums")
    more = ["train", "--resume", run, "--trainer.max_steps=3"]
    assert f"config.yaml: needs the plugin {trained} (sha256" in refusal(capsys, *more)
    assert "steps" not in helicon.modalities.registry.MODALITIES
    assert main([*more, "--plugin", trained]) == 0
    fresh()
    assert helicon.resume(run, plugins=[trained], options=["--trainer.max_steps=4"]) == Path(run)
    # A config that is typed is trusted, and what it names is run
    fresh()
    assert main(["fit", "--config", f"{run}/config.yaml", "--name=again", "--trainer.max_steps=1"]) == 0
    assert read_config(Path("runs/again"))["plugins"] == read_config(Path(run))["plugins"]


def test_a_plugin_that_has_changed_is_told(trained, home):
    run = str(home / "runs" / "drums")
    with open(trained, "a", encoding="utf-8") as file:
        file.write("# changed\n")
    with pytest.warns(PluginWarning, match=r"own_modality\.py \(sha256 .*\) has changed since, it was sha256 "):
        assert main(["generate", run, "--plugin", trained]) == 0
    fresh()
    with pytest.warns(PluginWarning, match="has changed since"):
        assert main(["train", "--resume", run, "--trainer.max_steps=3", "--plugin", trained]) == 0
    assert (home / "runs" / "drums" / "changes.txt").read_text() == "plugins from step 2 on\n"


def test_what_lies_beside_a_bundle_is_never_run(trained, home, capsys):
    model = home / "runs" / "drums" / "model"
    for folder in (model, home / "runs" / "drums", Path.cwd()):
        (folder / "own_modality.py").write_text(f"open({str(home / 'ran')!r}, 'w')")
    assert "needs the plugin" in refusal(capsys, "generate", str(model))
    assert "needs the plugin" in refusal(capsys, "train", "--resume", str(model.parent))
    assert not (home / "ran").exists()


def test_a_pattern_of_a_plugin_is_found_by_generate(home, capsys, monkeypatch):
    plugin, path = example(home, "own_pattern"), str(texts(home))
    config = home / "configs" / "own.yaml"
    config.parent.mkdir()
    config.write_text("plugins: [../own_pattern.py]\nmodel: {pattern: 'dense,dilated:4,2', layers: 2}\n")
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")
    words = [f"--config={config}", f"--data.path={path}", "--data.layouts=[text]", "--data.tokenizer=bytes"]
    assert main(["fit", *TINY[1:], *words, "--name=text"]) == 0
    (found,) = make_request("text", Path(path), words[:1]).overrides["plugins"]
    assert Path(found).samefile(plugin)
    fresh()
    assert "needs the plugin own_pattern.py" in refusal(capsys, "generate", "runs/text")
    assert main(["generate", "runs/text", "--tokens=4", "--plugin", plugin]) == 0


def test_a_plugin_is_named_wrongly(home, capsys):
    (home / "bad.py").write_text("1 / 0\n")
    (home / "bad.yaml").write_text("plugins: [no.py]\ndata: {layouts: [text]}\n")
    config = "--config=bad.yaml"
    for words in (["fit", config], ["train", "bad.yaml", "."], ["train", "text", ".", config]):
        assert "helicon: bad.yaml, plugins: no.py: No such file" in refusal(capsys, *words)
    for name, said in (("no.py", "No such file"), ("a.txt", "a Python file"), ("bad.py", "bad.py, line 1: ZeroDiv")):
        for words in (["generate", "run"], ["fit"], ["train", "text", "."]):
            assert said in refusal(capsys, *words, "--plugin", name)
