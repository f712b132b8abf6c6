"""The paths of a run are found from any folder, also where run and files have moved together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helicon.training.errors import TrainingError
from helicon.training.resuming import on_same_files
from helicon.training.runs.folders import read_config, run_text
from helicon.training.settings.places import BEGUN_IN, found_from_here, way_back
from helicon.training.settings.sizes import task_config
from helicon.training.settings.words import resolve_configs

TYPED = {
    "task": "gpt", "upsampler_of": "runs/coarse", "repeat": "runs/first", "ckpt_path": None, "plugins": ["mine"],
    "data": {
        "path": "pictures", "manifest": "lists/all.csv", "cache": None, "init_from": "/models/base",
        "layouts": ["text[8] image[]"], "tokenizer": "codecs/image",
        "tokenizers": {"text": "bytes", "image": "runs/codec", "audio": "runs/sound@1"},
    },
    "next": {
        "task": "text-to-image", "path": "pictures", "runs": "out", "name": "later", "next": {"path": "pictures"},
        "overrides": {"data": {"tokenizers": {"text": "bytes", "image": "runs/codec"}}, "weights": "last"},
    },
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was begun in the folder `project`."""
    run = tmp_path / "project" / "runs" / "mine"
    run.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    (run / "config.yaml").write_text(run_text({**TYPED, BEGUN_IN: way_back(run)}))
    return run


def test_the_paths_of_a_run_are_found_from_another_folder(run, tmp_path, monkeypatch):
    assert read_config(run) == read_config(Path("runs/mine")) == TYPED  # from where it began, as typed
    monkeypatch.chdir(tmp_path)
    begun = tmp_path / "project"
    for place in (run, Path("project/runs/mine")):
        config = read_config(place)
        assert (config["upsampler_of"], config["repeat"]) == (f"{begun}/runs/coarse", f"{begun}/runs/first")
        assert (config["task"], config["ckpt_path"], config["plugins"]) == ("gpt", None, ["mine"])
        data, following = config["data"], config["next"]
        assert (data["path"], data["manifest"]) == (f"{begun}/pictures", f"{begun}/lists/all.csv")
        assert (data["cache"], data["init_from"]) == (None, "/models/base")
        codecs = {"image": f"{begun}/runs/codec", "audio": f"{begun}/runs/sound@1"}
        assert data["tokenizers"] == {"text": "bytes", **codecs}
        assert (data["layouts"], data["tokenizer"]) == (["text[8] image[]"], f"{begun}/codecs/image")
        assert (following["task"], following["name"]) == ("text-to-image", "later")
        assert following["path"] == following["next"]["path"] == f"{begun}/pictures"
        assert following["runs"] == f"{begun}/out"
        assert following["overrides"]["data"]["tokenizers"] == {"text": "bytes", "image": f"{begun}/runs/codec"}


def test_run_and_files_that_move_together_are_found(run, tmp_path, monkeypatch):
    assert str(tmp_path) not in (run / "config.yaml").read_text()
    (tmp_path / "project").rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert read_config(Path("moved/runs/mine"))["data"]["path"] == f"{tmp_path}/moved/pictures"


def test_a_run_that_has_moved_alone_finds_what_is_there_from_here(run, tmp_path):
    run.rename(tmp_path / "moved")
    for name in ("pictures", "runs/codec", "runs/sound"):
        Path(name).mkdir()
    data = read_config(tmp_path / "moved")["data"]
    assert (data["path"], data["tokenizers"]) == ("pictures", TYPED["data"]["tokenizers"])


def test_a_folder_of_runs_behind_a_link(tmp_path, monkeypatch):
    (tmp_path / "disk" / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "runs").symlink_to(tmp_path / "disk" / "runs")
    monkeypatch.chdir(tmp_path / "project")
    config = {**TYPED, BEGUN_IN: way_back(Path("runs/mine"))}
    assert found_from_here(config, Path("runs/mine"))["data"]["path"] == "pictures"
    monkeypatch.chdir(tmp_path)
    for run in ("project/runs/mine", "disk/runs/mine"):
        assert found_from_here(config, Path(run))["data"]["path"] == f"{tmp_path}/project/pictures"


def test_the_config_of_a_run_as_a_config_of_others(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = resolve_configs(["--config", "project/runs/mine/config.yaml", "--data.batch_size", "2"])
    config = json.loads(words[0].removeprefix("--config="))
    assert (config["data"]["path"], words[1:]) == (f"{tmp_path}/project/pictures", ["--data.batch_size", "2"])
    assert BEGUN_IN not in config
    assert task_config("project/runs/mine/config.yaml")["data"]["path"] == f"{tmp_path}/project/pictures"


def test_a_config_without_the_folder_it_began_in_has_paths_from_here(tmp_path):
    assert found_from_here(TYPED, tmp_path) == TYPED


def test_a_wrong_folder_is_refused_in_one_line(run):
    (run / "config.yaml").write_text(run_text({**TYPED, BEGUN_IN: ["x"]}))
    with pytest.raises(TrainingError, match="begun_in a list of 1: a text"):
        read_config(run)


def test_the_next_stages_follow_the_files_that_are_typed_beside_resume():
    overrides = {"data": {"manifest": "old.csv", "val_split": 0.1}}
    stage = {"task": "text", "path": "old", "next": {"task": "music", "path": "old", "overrides": overrides}}
    config = on_same_files({"next": stage}, {"path": "new", "manifest": "new.csv", "val_split": 0.2})
    assert (config["next"]["path"], config["next"]["next"]["path"]) == ("new", "new")
    assert config["next"]["next"]["overrides"]["data"] == {"manifest": "new.csv", "val_split": 0.1}
    assert stage["path"] == "old"
