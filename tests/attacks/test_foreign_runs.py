"""Runs of strangers: going on with one imports no class, reads no other config and follows no command that it names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from attacks.harness import attempt, posix

from helicon.training.resuming import resumed_config
from helicon.training.run import run_lightning
from helicon.training.runs.folders import HEADER
from helicon.training.runs.trust import check_config, check_next, check_start

pytestmark = posix

PLANTED = "planted_by_a_stranger"  # a module that says that it was imported
OWN: dict[str, Any] = {
    "task": "gpt", "next": None, "upsampler_of": None, "weights": "best", "samples": True,
    "trainer": {
        "accelerator": "auto", "strategy": "auto", "devices": "auto", "logger": False, "callbacks": None,
        "plugins": None, "profiler": None, "max_time": "00:00:10:00", "val_check_interval": 200,
    },
    "model": {"layers": 2, "slot_weights": {"style": 0.0}},
    "data": {"path": "songs", "layouts": ["style[3] music"], "tokenizers": {"music": "musenet"}},
}  # fmt: skip


@pytest.fixture
def run(tmp_path, monkeypatch) -> Path:
    """A folder beside others, with a module in the current folder that a config could name."""
    (tmp_path / f"{PLANTED}.py").write_text("open('ran', 'w').close()\nclass Class: pass\ndef call(**k): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "music"
    (folder / "checkpoints").mkdir(parents=True)
    return folder


def changed(*keys: Any) -> dict[str, Any]:
    config = json.loads(json.dumps(OWN))
    *path, last, value = keys
    where = config
    for key in path:
        where = where[key]
    where[last] = value
    return config


def write_config(run: Path, config: dict[str, Any]) -> None:
    (run / "config.yaml").write_text(HEADER + yaml.safe_dump(config))


CLASS = {"class_path": f"{PLANTED}.Class"}
CONFIGS: dict[str, dict[str, Any]] = {
    "callbacks": changed("trainer", "callbacks", [CLASS]),
    "callbacks as a text": changed("trainer", "callbacks", f"{PLANTED}.Class"),
    "callbacks as texts": changed("trainer", "callbacks", [f"{PLANTED}.Class"]),
    "logger": changed("trainer", "logger", CLASS),
    "logger as a text": changed("trainer", "logger", f"{PLANTED}.Class"),
    "profiler": changed("trainer", "profiler", f"{PLANTED}.Class"),
    "plugins": changed("trainer", "plugins", [{"class_path": f"{PLANTED}.Class"}]),
    "strategy": changed("trainer", "strategy", CLASS),
    "strategy as a text": changed("trainer", "strategy", f"{PLANTED}.Class"),
    "accelerator": changed("trainer", "accelerator", CLASS),
    "a trainer of their own": changed("trainer", CLASS),
    "model of their own": changed("model", CLASS),
    "within the model": changed("model", "slot_weights", {"style": CLASS}),
    "data of their own": changed("data", {"class_path": f"{PLANTED}.Class", "init_args": {}}),
    "trainer of another config": changed("trainer", "/etc/hostname"),
    "data of another config": changed("data", "other.yaml"),
    "a config": changed("config", "other.yaml"),
    "a dotted key": changed("trainer.callbacks", [CLASS]),
    "an appended key": changed("trainer", "callbacks+", CLASS),
    "another setting": changed("trainer", "magic", 1),
    "a plugin": changed("plugins", [f"{PLANTED}.py"]),
    "a plugin with its hash": changed("plugins", [f"{PLANTED}.py#sha256={'0' * 64}"]),
    "a plugin as a text": changed("plugins", f"{PLANTED}.py"),
    "a plugin that is none": changed("plugins", [CLASS]),
    "an optimizer": changed("optimizer", CLASS),
    "an optimizer as a text": changed("optimizer", f"{PLANTED}.Class"),
    "a schedule as a text": changed("lr_scheduler", f"{PLANTED}.Class"),
    "another folder to write to": changed("trainer", "default_root_dir", "/tmp/elsewhere"),
    "no data": changed("data", None),
    "data without a path": changed("data", {"layouts": ["text"]}),
    "a device that is not one of ours": changed("trainer", "accelerator", "tpu"),
    "a strategy that is none": changed("trainer", "strategy", "nonsense"),
    "a date": changed("name", None) | {"name": __import__("datetime").date(2020, 1, 1)},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_names_code(run, name):
    write_config(run, CONFIGS[name])
    attempt(resumed_config, run).is_refusal(run / "config.yaml")
    assert not Path("ran").exists()


def stage(**overrides: Any) -> dict[str, Any]:
    place = {"name": "music-upsampler-0", "upsampler_of": "runs/music"}
    return {"task": "audio-upsampler", "path": "songs", **place, "overrides": overrides}


NEXT: dict[str, Any] = {
    "a text": "music songs",
    "words of a command": ["music", "songs", "--config", "evil.yaml"],
    "another field": {**stage(), "resume": "evil"},
    "without a task": {"path": "songs"},
    "values of other types": {**stage(), "minutes": "many"},
    "a list for a name": {**stage(), "name": ["x"]},
    "a config in the place of a task": {**stage(), "task": "/tmp/evil.yaml"},
    "other files": {**stage(), "path": "/home"},
    "a config": stage(config="evil.yaml"),
    "a codec by a config": stage(codec="evil.yaml"),
    "another setting": stage(ckpt_path="evil.ckpt"),
    "callbacks": stage(trainer={"callbacks": [CLASS]}),
    "callbacks appended": stage(trainer={"callbacks+": f"{PLANTED}.Class"}),
    "a strategy": stage(trainer={"strategy": f"{PLANTED}.Class"}),
    "a plugin": stage(plugins=[f"{PLANTED}.py"]),
    "a whole trainer": stage(trainer="evil.yaml"),
    "a whole model": stage(model="evil.yaml"),
    "overrides that are none": {**stage(), "overrides": "evil.yaml"},
    "other files by an override": stage(data={"path": "/home"}),
    "another manifest": {**stage(), "manifest": "/home/list.csv"},
    "another manifest by an override": stage(data={"manifest": "/home/list.csv"}),
    "weights to begin with by an override": stage(data={"init_from": "/somewhere/music"}),
    "a schedule": stage(lr_scheduler=f"{PLANTED}.Class"),
    "runs elsewhere": {**stage(), "runs": "/tmp"},
    "a name that leads elsewhere": {**stage(), "name": "../../x"},
    "for a run elsewhere": {**stage(), "upsampler_of": "/somewhere/music"},
    "weights to begin with": {**stage(), "init_from": "/somewhere/music"},
    "a size by a config": {**stage(), "size": "evil.yaml"},
    "a stage after it": {**stage(), "next": stage(config="evil.yaml")},
    "control characters": {**stage(), "task": "\x1b[31m\u202e" * 100},
}


@pytest.mark.parametrize("name", NEXT)
def test_what_follows_a_run(run, name):
    attempt(check_next, run, {**OWN, "next": NEXT[name]}).is_refusal(run / "config.yaml", "next")


def test_stages_without_end(run):
    deep = stage()
    for _ in range(5000):
        deep = {**stage(), "next": deep}
    attempt(check_next, run, {**OWN, "next": deep}).is_refusal(run / "config.yaml", "next")


def test_what_our_runs_ask_for_is_accepted(run):
    after = {**stage(), "next": {**stage(trainer={"max_steps": 9}, data={"val_split": 0.1}), "minutes": 5.0}}
    for config in (OWN, {**OWN, "next": after}, {**OWN, "upsampler_of": "runs/other"}, {**OWN, "trainer": None}):
        check_config(run, config)
        check_next(run, config)
    more = stage(trainer={"strategy": "ddp"}, data={"tokenizers": {"audio": "runs/codec"}}, samples=False)
    request = check_next(run, {**OWN, "next": {**more, "size": "tiny", "next": stage()}})
    assert request is not None
    assert request.next is not None
    assert (request.runs, request.next.runs) == (run.parent, run.parent)  # wherever the current folder is


@pytest.mark.parametrize("text", ["", "# A run of helicon, format 1\n"])
def test_a_run_of_another_format(run, text):
    (run / "config.yaml").write_text(text + yaml.safe_dump(OWN))
    attempt(resumed_config, run).is_refusal(run / "config.yaml", "config of another format than 3")


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_a_file_that_is_called_like_a_word_of_the_config(run, tmp_path, monkeypatch, name):
    """Beside the config, or in the current folder: it is not opened, whatever classes it names."""
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("some words. " * 200)
    trainer = {"accelerator": "cpu", "strategy": "auto"}
    config = {"task": "gpt", "trainer": trainer, "data": {"path": str(tmp_path / "texts"), "layouts": ["text"]}}
    write_config(run, config)
    args = {"device": "cpu", "checkpoint_io": {"class_path": f"{PLANTED}.Class"}}
    planted = {"class_path": "pytorch_lightning.strategies.SingleDeviceStrategy", "init_args": args}
    for folder in (run, tmp_path):
        (folder / name).write_text(yaml.safe_dump(planted))
    run_lightning("prepare", ["--config", str(run / "config.yaml"), "--data.tokenizers", '{"text": "bytes"}'])
    assert not Path("ran").exists()


def test_a_checkpoint_elsewhere_that_a_run_began_with(run, tmp_path):
    attempt(check_start, run, {"ckpt_path": str(tmp_path / "x.ckpt")}).is_refusal(run / "config.yaml", "--ckpt_path")
    attempt(check_start, run, {"ckpt_path": "runs/../x.ckpt"}).is_refusal(run / "config.yaml")
    check_start(run, {"ckpt_path": "runs/other/checkpoints/last.ckpt"})
    check_start(run, {"ckpt_path": None})
    check_start(run, {"ckpt_path": str(tmp_path / "x.ckpt")}, ["ckpt_path"])


def test_a_run_that_is_for_another_elsewhere(run, tmp_path):
    config = {**OWN, "upsampler_of": str(tmp_path / "elsewhere" / "music")}
    attempt(check_config, run, config).is_refusal(run / "config.yaml", "upsampler_of", "--for")
    attempt(check_config, run, config, tmp_path / "other").is_refusal(run / "config.yaml")
    check_config(run, config, tmp_path / "elsewhere" / "music")  # which was typed


CLAIMS: dict[str, tuple[str, dict[str, Any]]] = {
    "readers": ("data.workers 100000", changed("data", "workers", 100_000)),
    "readers below 0": ("data.workers -1", changed("data", "workers", -1)),
    "readers of every trainer": ("trainer.devices 64", changed("trainer", "devices", 64) | {"data": {"workers": 8}}),
    "trainers": ("trainer.devices 4096", changed("trainer", "devices", 4096)),
    "trainers by a text": ("trainer.devices '4096'", changed("trainer", "devices", "4096")),
    "trainers one by one": ("trainer.devices", changed("trainer", "devices", list(range(4096)))),
    "trainers in a row": ("trainer.devices", changed("trainer", "devices", "0," * 4096)),
    "machines": ("trainer.num_nodes 1000000", changed("trainer", "num_nodes", 1_000_000)),
    "a batch": ("data.batch_size 1000000000", changed("data", "batch_size", 10**9)),
    "a batch of text": ("data.batch_size of", changed("data", "batch_size", "x" * 100_000)),
    "a batch of long sequences": (
        "data.batch_size 5,000", {**OWN, "data": {"batch_size": 5000}, "model": {"context": 1000}},
    ),
    "a context as a text": ("model.context '1_048_576'", changed("model", "context", "1_048_576")),
    "a long context alone": ("data.batch_size 32", {**OWN, "data": {}, "model": {"context": 1 << 20}}),
    "a batch of large pictures": ("data.batch_size 16", {**OWN, "data": {"batch_size": 16, "size": 4096}}),
    "a batch of long windows": ("data.batch_size 32", {**OWN, "data": {"batch_size": 32, "window": 1 << 23}}),
    "pictures": ("data.size 1000000", changed("data", "size", 1_000_000)),
    "a seed below 0": ("data.seed -5", changed("data", "seed", -5)),
    "a long seed": ("data.seed", changed("data", "seed", 10**30)),
    "no steps together": ("accumulate_grad_batches 0", changed("trainer", "accumulate_grad_batches", 0)),
    "steps of batches without end": ("batches 4294967295", changed("trainer", "accumulate_grad_batches", 4294967295)),
    "no layouts": ("data.layouts []", changed("data", "layouts", [])),
    "a cache": ("data.cache", changed("data", "cache", "/home/somebody")),
    "a cache beside one's own": ("data.cache", changed("data", "cache", "cache/../elsewhere")),
}  # fmt: skip


@pytest.mark.parametrize("name", CLAIMS)
def test_more_than_a_run_may_ask_for(run, monkeypatch, name):
    """Not without it being typed, of this run and of what follows it."""
    monkeypatch.setenv("HELICON_CACHE", "cache")
    word, config = CLAIMS[name]
    attempt(check_config, run, config).is_refusal(run / "config.yaml", word)
    check_config(
        run, config, typed=[f"{group}.{key}" for group in ("trainer", "model", "data") for key in config[group]]
    )


@pytest.mark.parametrize(
    ("group", "name", "value"),
    [("data", "workers", 100_000), ("trainer", "devices", 64), ("data", "cache", "/home")],
)
def test_more_than_the_next_stage_may_ask_for(run, group, name, value):
    following = stage(**{group: {name: value}})
    attempt(check_next, run, {**OWN, "next": following}).is_refusal(run / "config.yaml", "next", f"{group}.{name}")


def test_what_a_run_may_ask_for(run, monkeypatch):
    monkeypatch.setenv("HELICON_CACHE", "cache")
    for devices in ("auto", -1, "-1", 2, "2", [0, 1], "0,1"):
        check_config(run, changed("trainer", "devices", devices) | {"data": {"workers": 2, "cache": "cache/own"}})
    check_config(run, changed("trainer", "num_nodes", 1) | {"data": {"batch_size": 512, "size": 64}})


TAGS = ("task: !!bool x", "task: !!int ''", "task: !!float ''", "task: !!timestamp abc")
SEXAGESIMAL = "x: 1" + ":00" * 250 + ".5"  # a number to PyYAML, beyond those that are


def test_a_config_that_repeats_itself(run):
    text = "a: &a [x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefghijklm", "bcdefghijklmn")
    )
    hexadecimal = "model: {lr: 0x" + "f" * 5000 + "}"
    for content in (
        text,
        "[" * 100_000,
        "a: " + "x" * (2 << 20),
        "\x00",
        "- 1",
        "a: &a [*a]",
        hexadecimal,
        SEXAGESIMAL,
        *TAGS,
    ):
        (run / "config.yaml").write_text(HEADER + content)
        attempt(resumed_config, run).is_refusal(run / "config.yaml")


def test_a_run_with_links(run):
    write_config(run, OWN)
    os.symlink("/etc/hostname", run / "metrics.csv")
    attempt(resumed_config, run).is_refusal(run / "metrics.csv")
