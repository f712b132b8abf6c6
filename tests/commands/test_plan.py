"""What `helicon train` decides before it starts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from pytorch_lightning.callbacks import Timer
from tiny_bundles import text_bundle

import helicon
from helicon.bundle.bundle import make_gpt
from helicon.bundle.storage import load_bundle, save_bundle
from helicon.cli import main
from helicon.data.entries import DataError
from helicon.demos import composer
from helicon.gpt.config import GPTConfig
from helicon.presets import GROUPS, dotted, merge, preset, without
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer
from helicon.training.options import resolve, typed_config
from helicon.training.parser import TrainingParser
from helicon.training.plan import TrainingPlan, _fine_tuning_config, check_labels, plan_gpt
from helicon.training.run import HeliconCLI
from helicon.training.settings.config import GPTModelConfig
from helicon.training.settings.request import TrainRequest
from helicon.training.settings.sizes import layouts_task, learning_rate, task_config
from helicon.training.stages import make_request
from helicon.training.usage_errors import UsageError


@pytest.fixture
def request_(tmp_path: Path) -> TrainRequest:
    """Of a few texts."""
    (tmp_path / "texts").mkdir()
    for i in range(12):
        (tmp_path / "texts" / f"{i}.txt").write_text(f"once upon a time {i} " * 9)
    data = {"cache": str(tmp_path / "cache"), "val_split": 0.3, "tokenizer": "bytes"}
    return TrainRequest(
        task="text", path=tmp_path / "texts", size="tiny", runs=tmp_path / "runs", overrides={"data": data}
    )


def planned(request: TrainRequest) -> TrainingPlan:
    return plan_gpt(request, lambda line: None)


@pytest.mark.parametrize(("steps", "every"), [(35, 3), (9, 1)])
def test_ten_validations_of_so_many_steps(request_, steps, every, monkeypatch):
    parses, parse = [], TrainingParser.parse_object
    monkeypatch.setattr(
        TrainingParser, "parse_object", lambda self, config: parses.append(config) or parse(self, config)
    )
    plan = planned(replace(request_, steps=steps))
    cli = HeliconCLI("fit", plan.config, plan.data)
    assert len(parses) == 1
    assert cli.datamodule is plan.data
    assert cli.trainer.max_steps == steps
    assert cli.trainer.val_check_interval == every


def test_a_size_is_checked_together_with_what_is_typed(request_):
    three = {"model": {"width": 96, "heads": 3}}
    model = planned(replace(request_, overrides=merge(request_.overrides, three))).config.model
    assert (model.layers, model.width, model.heads) == (preset("tiny")["model"]["layers"], 96, 3)
    of_large = {"model": {"heads": 512}}  # more than the default width has
    assert (
        planned(replace(request_, size="large", overrides=merge(request_.overrides, of_large))).config.model.heads
        == 512
    )


@pytest.mark.parametrize(
    ("layout", "steps", "options", "changes"),
    [
        ("image[4x4]", 40, {}, {"crop": [0.9, 1.0]}),
        ("style[1] image[4x4]", 40, {}, {"crop": [0.9, 1.0]}),
        ("image[4x4]", 39, {}, None),
        ("text[8] image[4x4]", 80, {}, None),
        ("image[4x4]", 80, {"augment": False}, None),
        ("image[4x4]", 80, {"changes": {"flip": 0.5}}, {"flip": 0.5}),
    ],
)
def test_pictures_alone_that_are_seen_often_are_cropped(tmp_path, layout, steps, options, changes):
    """Ten of them in batches of 4: 40 steps are 16 times each."""
    (tmp_path / "pictures" / "red").mkdir(parents=True)
    for i in range(10):
        path = tmp_path / "pictures" / "red" / f"{i}.png"
        Image.new("RGB", (4, 4), (255, 20 * i, 0)).save(path)
        path.with_suffix(".txt").write_text(f"red {i}")
    data = {
        "cache": str(tmp_path / "cache"),
        "val_split": 0.0,
        "layouts": [layout],
        "batch_size": 4,
        "colours": 8,
        "size": 4,
    }
    request = TrainRequest(
        task="image", path=tmp_path / "pictures", size="tiny", runs=tmp_path / "runs", steps=steps, minutes=1000,
        overrides={"data": {**data, **options}},
    )  # fmt: skip
    plan = planned(request)
    assert plan.config.data.changes == changes
    assert plan.data.variation.ranges == plan.config.data.ranges(["image"])


def test_fine_tuning_takes_half_the_rate(request_, tmp_path):
    save_bundle(text_bundle(), tmp_path / "bundle")
    overrides = without(request_.overrides, ["data.tokenizer"])
    plan = planned(replace(request_, size="auto", init_from=tmp_path / "bundle", overrides=overrides))
    model = HeliconCLI("fit", plan.config).model
    assert model.config.width == 16
    assert model.config.lr == pytest.approx(learning_rate(16) / 2, rel=0.05)


def test_a_config_of_several():
    preset = {"task": "gpt", "model": {"layers": 4, "slot_weights": {"text": 1.0}}, "data": {"layouts": ["text"]}}
    typed = {"weights": "last", "model": {"slot_weights": {"music": 1.0}}}
    assert merge(preset, {"model": None}, typed) == {
        "task": "gpt", "weights": "last", "data": {"layouts": ["text"]}, "model": {"slot_weights": {"music": 1.0}},
    }  # fmt: skip
    assert merge(preset, typed)["model"] == {"layers": 4, "slot_weights": {"music": 1.0}}
    assert dotted(typed) == ["weights", "model.slot_weights"]
    assert without(preset, ["task", "model.layers"]) == {
        "model": {"slot_weights": {"text": 1.0}}, "data": {"layouts": ["text"]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--model.layers", "3", "--weights=last"], {"weights": "last", "model": {"layers": 3}}),
        (["--model.lr=1e-3", "--trainer.max_time=null"], {"model": {"lr": 1e-3}, "trainer": {"max_time": None}}),
        (["--data.layouts+=text"], {"data": {"layouts": ["style[3] music", "text"]}}),
        (["--data.tokenizers.text", "bytes"], {"data": {"tokenizers": {"music": "musenet", "text": "bytes"}}}),
        (["--config", "ddp"], {"trainer": {"strategy": "ddp", "devices": "auto"}}),
        (["--data.path", "other"], {"data": {"path": "other"}}),
        ([], {}),
    ],
)
def test_what_is_typed_comes_after_the_preset(words, expected):
    base = {"task": "gpt", "data": {"path": "x", "layouts": ["style[3] music"], "tokenizers": {"music": "musenet"}}}
    assert typed_config(words, base) == expected


def test_a_config_is_resolved_to_typed_objects():
    config = resolve(merge(preset("music"), preset("tiny"), {"data": {"path": "x"}, "name": "mine"}))
    assert (config.run.name, config.run.task, config.data.layouts) == ("mine", "gpt", ["style[3] music"])
    assert isinstance(config.model, GPTModelConfig)
    assert config.model.gpt == GPTConfig(layers=4, width=128, heads=4, bias=False, qk_norm=True)
    for wrong, message in (
        ({"model": {"laters": 3}}, "unknown option '--model.laters'; nearest: --model.layers"),
        ({"model": {"layers": "many"}}, "--model.layers"),
        ({"model": {"factor": 4}}, "--model.factor is an option of codec; this trains gpt"),
        ({"task": "gbt"}, "unknown task 'gbt'; nearest: gpt"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            resolve(merge(preset("music"), {"data": {"path": "x"}}, wrong))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("- 3\n", "these are no settings"), ("data: 3\n", "data is no settings"), ("model: [a\n", "no YAML")],
)
@pytest.mark.parametrize("command", ["train", "fit"])
def test_a_file_that_is_no_config_is_named(tmp_path, monkeypatch, capsys, command, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text(text)
    assert main([command, *(["my.yaml", "."] if command == "train" else ["--config", "my.yaml"])]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"helicon: my.yaml: {message}")


def test_a_callback_is_made_once(tmp_path, monkeypatch):
    """What is typed is looked at several times; its classes are made when the training is."""
    made = []
    monkeypatch.setattr(Timer, "__init__", lambda self, **options: made.append(options))
    config = {"data": {"path": "x"}, "trainer": {"callbacks": [{"class_path": "pytorch_lightning.callbacks.Timer"}]}}
    resolve(merge(preset("text"), config))
    assert made == []


@pytest.mark.parametrize(
    ("words", "asked", "expected"),
    [
        (["--config=run.yaml"], {}, {"minutes": 5.0, "trainer.max_steps": 4, "data.seed": 7, "model.layers": 1}),
        (
            ["--config=run.yaml"],
            {"minutes": 3.0},
            {"minutes": 3.0, "trainer.max_time": None, "trainer.max_steps": None},
        ),
        (["--config=run.yaml"], {"steps": 9}, {"steps": 9, "trainer.max_steps": None, "trainer.max_time": None}),
        (["--config=run.yaml"], {"size": "small"}, {"model.layers": None, "model.lr": 0.5, "data.size": 8}),
        (["--config=run.yaml"], {"seed": 2}, {"seed": 2, "data.seed": None}),
        (["--config=run.yaml"], {"init_from": Path("b")}, {"data.init_from": None, "model.layers": 1}),
        (["--config=run.yaml"], {"manifest": Path("m")}, {"data.manifest": None}),
        (["--model.layers=3", "--config=run.yaml"], {"size": "small"}, {"model.layers": 3, "model.width": None}),
        (["--model.layers", "3", "--config", "run.yaml"], {}, {"model.layers": 3, "model.width": 16}),
        (["--trainer.max_time=00:00:06:00"], {}, {"minutes": 6.0, "trainer.max_time": None}),
        (["--trainer.max_steps=6", "--config=run.yaml"], {"minutes": 3.0}, {"minutes": 3.0, "trainer.max_steps": 6}),
    ],
)
def test_a_flag_goes_before_a_config_and_an_option_before_both(tmp_path, monkeypatch, words, asked, expected):
    """None where it is left to what the flag says."""
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(
        "trainer: {max_time: '00:00:05:00', max_steps: 4}\nmodel: {layers: 1, width: 16, lr: 0.5}\n"
        "data: {seed: 7, batch_size: 3, size: 8, init_from: other, manifest: list.csv}\n"
    )
    request = make_request("text", tmp_path, words, **asked)
    found = {f"{group}.{name}": value for group in GROUPS for name, value in request.overrides.get(group, {}).items()}
    assert {name: found.get(name, getattr(request, name, None)) for name in expected} == expected


def test_a_task_file_says_how_it_is_trained(request_, tmp_path):
    """What is chosen where nothing is said does not go before it; a flag does."""
    file = tmp_path / "my.yaml"
    limits = "{precision: 64-true, val_check_interval: 2, max_steps: 4, max_time: '00:00:05:00'}"
    file.write_text(f"task: gpt\ndata: {{layouts: [text]}}\ntrainer: {limits}\n")
    words = ["--data.cache", str(tmp_path / "cache"), "--data.val_split=0.3", "--data.tokenizer=bytes"]
    for asked, ends in (({}, (4, "00:00:05:00")), ({"minutes": 3}, (-1, "00:00:03:00")), ({"steps": 6}, (6, None))):
        request = make_request(str(file), request_.path, words, runs=tmp_path, size="tiny", **asked)
        trainer = planned(request).config.trainer
        assert (trainer["precision"], trainer["val_check_interval"]) == ("64-true", 2)
        assert trainer["max_steps"] == ends[0]
        assert trainer["max_time"] == ends[1] or ends[1] is None


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"minutes": -1}, "minutes -1: a number"), ({"minutes": 0}, "minutes 0: a number"),
        ({"minutes": float("nan")}, "minutes nan"), ({"minutes": float("inf")}, "minutes inf"),
        ({"steps": 0}, "steps 0: a whole number from 1"), ({"steps": -3}, "steps -3"), ({"steps": 2.5}, "steps 2.5"),
        ({"seed": -1}, "seed -1"), ({"seed": 1 << 32}, "seed 4294967296"), ({"levels": 0}, "levels 0"),
    ],
)  # fmt: skip
def test_numbers_that_are_none_are_told_before_any_work(asked, said):
    with pytest.raises(ValueError, match=rf"^{said}"):
        helicon.train("nowhere", "nothing", **asked)
    if "minutes" in asked:
        with pytest.raises(ValueError, match=rf"^{said}"):
            helicon.resume("nowhere", **asked)


def test_a_layout_of_ones_own_needs_the_labels_that_it_has_a_place_for():
    layouts, own = [Layout.parse("style[1] audio")], TrainRequest(task="style[1] audio", path=Path("p"))
    with pytest.raises(
        DataError, match=r"^p: no file has a label for the style of `style\[1\] audio`; a folder for each"
    ):
        check_labels(own, layouts, [[None, None]])
    check_labels(own, layouts, [[None, "bell"]])
    for other in (replace(own, task="audio"), replace(own, init_from=Path("b")), replace(own, upsampler_of=Path("b"))):
        check_labels(other, layouts, [[None]])
    with pytest.raises(DataError):
        check_labels(replace(own, task="audio", overrides={"data": {"layouts": ["style[1] audio"]}}), layouts, [[None]])
    check_labels(own, [Layout.parse("style[3] music"), Layout.parse("audio")], [[None], [None]])  # of music: tempo


def test_steps_alone_end_every_stage():
    """No time is made up, neither for people nor for the stages; the command that a request tells asks for the same."""
    request = make_request("text", Path("p"), steps=60)
    assert (request.timed, request.length, request.share(0.5)) == (False, "60 steps", request.minutes)
    assert request.words() == ["text", "p", "--steps", "60"]
    assert request.longer(10) == replace(request, steps=600)
    both = make_request("text", Path("p"), minutes=3, steps=60)
    assert (both.length, both.share(0.5)) == ("3 min or 60 steps", 1.5)
    assert both.words() == ["text", "p", "--minutes", "3", "--steps", "60"]
    longest = replace(both, minutes=5e5, steps=None).longer(10)
    assert (longest.length, longest.minutes) == ("16,666 h 40 min", 1e6)


def test_a_request_as_plain_values():
    after = TrainRequest(task="image", path=Path("p"), name="m", overrides={"data": {"size": 8}, "weights": "last"})
    request = TrainRequest(task="image-codec", path=Path("p"), minutes=2.5, seed=3, runs=Path("r"), next=after)
    plain = request.as_config()
    assert plain == {
        "task": "image-codec", "path": "p", "minutes": 2.5, "seed": 3, "runs": "r",
        "next": {"task": "image", "path": "p", "name": "m", "overrides": {"data": {"size": 8}, "weights": "last"}},
    }  # fmt: skip
    assert TrainRequest.from_config(json.loads(json.dumps(plain))) == request
    assert str(after) == "helicon train image p --name m --minutes 10 --data.size 8 --weights last"


@pytest.mark.parametrize(
    ("text", "message", "number"),
    [
        ("model:\n  laters: 3\n", "unknown option '--model.laters'; nearest: --model.layers", 4),
        ("model:\n  layers: many\n", "--model.layers: Expected a <class 'int'>. Got value: many", 4),
        ("trainer: {}\nmodel: {factor: 8}\n", "--model.factor is an option of codec; this trains gpt", 4),
        ("model:\n  pattern: dnse\n", "--model.pattern: no attention pattern 'dnse', did you mean 'dense'?", 4),
        ("model:\n  heads: 0\n", "--model.heads 0: a whole number from 1 to 65,536 is accepted", 4),
        ("task: gtp\n", "unknown task 'gtp'; nearest: gpt", 3),
        ("weight: last\n", "unknown option '--weight'; nearest: --weights", 3),
    ],
)
@pytest.mark.parametrize("command", ["train", "fit"])
def test_a_config_that_is_wrong_is_told_with_its_line(tmp_path, monkeypatch, capsys, command, text, message, number):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("once upon a time")
    (tmp_path / "my.yaml").write_text(f"# of mine\ndata: {{layouts: [text]}}\n{text}")
    words = ["my.yaml", "."] if command == "train" else ["--config", "my.yaml", "--data.path", "."]
    assert main([command, *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"helicon: {message}")
    assert line.endswith(f" (my.yaml, line {number})")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.txt", "my.yaml"]


def configured(folder, monkeypatch, config):
    """Goes to a folder with a text and my.yaml."""
    monkeypatch.chdir(folder)
    (folder / "a.txt").write_text("once upon a time")
    (folder / "my.yaml").write_text(config)


def test_layouts_are_learned_in_the_place_of_a_task(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    composer.write_folder(tmp_path / "midi", 6, seed=1)
    small = ["--size", "tiny", "--model.layers=1", "--model.width=16", "--model.heads=2", "--model.context=32"]
    small += ["--trainer.max_steps=2", "--samples=false"]
    assert main(["train", "--layout", "style[1] music", "--layout", "music", "midi", *small, "--name", "both"]) == 0
    assert list(map(str, load_bundle(tmp_path / "runs" / "both").schema.layouts)) == ["style[1] music", "music"]
    capsys.readouterr()
    for words, said in (
        (
            ["--layout", "text", "music", "midi"],
            "--layout is in the place of the task music: leave one of them out, as in helicon train",
        ),
        (["--layout", "foo[3] text", "midi"], "unknown slot 'foo'"),
        (["--layout", "text", "--resume", "runs/both"], "keeps the run's own settings; leave out --layout"),
        (["--layout", "text[8]", "music", "midi"], "music: leave one of them out"),
        (
            ["--layout", "text[8]", "image[]", "midi"],
            "one folder, not image[] and midi; a layout of several slots is put",
        ),
        (["--layout", "image[]"], "in the place of a task; a folder is needed: helicon train --layout 'image[]' DIR"),
        (["--layout", "text-to-image", "midi"], "layout 'text-to-image': the name of a task, which stands without"),
        (["--layout", "music", "midi", "--capl"], "unknown option '--capl'"),
        (["--capl", "midi", "--layout", "music"], "unknown option '--capl'"),
        (["--layout", "music", "--capl", "midi"], "unknown option '--capl'"),
        (["music", "midi", "--steps", "0"], "steps 0: a whole number from 1 to"),
        (["music", "midi", "--steps", "3", "--trainer.max_steps", "4"], "steps and --trainer.max_steps both say how"),
        (["--resume", "run", "--steps", "3"], "--resume run keeps the run's own settings; leave out --steps"),
        (["midi", "--layout", "music", "--max_steps", "3"], "'--max_steps'; nearest: --trainer.max_steps"),
    ):
        assert main(["train", *words]) != 0
        assert said in capsys.readouterr().err.splitlines()[-1], words


def test_a_layout_of_one_slot_is_not_the_task_of_its_name():
    assert [TrainRequest(task=layouts_task([slot]), path=Path("x")).title for slot in ("music", "text[4]")] == [
        "music", "text-4",
    ]  # fmt: skip
    for layouts in (["music"], ["text[4] music"], ["music", "text"]):
        assert task_config(layouts_task(layouts)) == {"task": "gpt", "data": {"layouts": layouts}}
    assert task_config("music")["data"]["layouts"] == ["style[3] music"]


@pytest.mark.parametrize("wrong", ["5", "[1, 2]", "{crop: a}", "{crop: [a, b]}"])
def test_changes_that_are_none_are_told_what_they_are(tmp_path, monkeypatch, capsys, wrong):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "image", ".", "--data.changes", wrong]) == 2
    said = "--data.changes: names and their values are accepted, such as {crop: [0.9, 1], flip: 0.5}"
    assert capsys.readouterr().err == f"helicon: {said}\n"


def test_a_run_of_several_layouts_says_which_is_gone_on_with(request_, tmp_path):
    bundle, said = text_bundle(), []
    layouts = [Layout.parse(spec) for spec in ("text[12]", "text")]
    bundle.sequencer = Sequencer(layouts, bundle.sequencer.tokenizers, 16)
    bundle.gpt = make_gpt(bundle.gpt.config, bundle.sequencer.schema)
    save_bundle(bundle, tmp_path / "both")
    several = replace(request_, task="classify", size="auto", init_from=tmp_path / "both", overrides={})
    plan_layouts = _fine_tuning_config(several, load_bundle(tmp_path / "both"), said.append)["data"]["layouts"]
    assert plan_layouts == ["text[12]"]
    assert said == ["layout     text[12], the first of text[12]; text; --data.layouts '[\"text\"]' names another"]
    named = replace(several, overrides={"data": {"layouts": ["text"]}})
    assert _fine_tuning_config(named, load_bundle(tmp_path / "both"), said.append)["data"]["layouts"] == ["text"]
    assert len(said) == 1


def test_two_tasks_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text("task: codec\n")
    assert main(["fit", "--config", "text", "--config", "my.yaml", "--data.path", "."]) == 2
    assert capsys.readouterr().err.startswith("helicon: two tasks are configured, gpt by text and codec by my.yaml")
    (tmp_path / "my.yaml").write_text("task: [gpt]\n")
    assert main(["fit", "--config", "my.yaml", "--data.path", "."]) == 2
    assert "unknown task" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "fit"])
def test_a_wrong_value_is_located_where_another_is_typed_for_the_option(tmp_path, monkeypatch, capsys, command):
    configured(tmp_path, monkeypatch, "model:\n  layers: two\n")
    words = ["text", "."] if command == "train" else ["--config", "text", "--data.path", "."]
    assert main([command, *words, "--config", "my.yaml", "--model.layers=1"]) == 2
    assert "Got value: two (my.yaml, line 2)" in capsys.readouterr().err
    (tmp_path / "my.yaml").write_text("model:\n  layers: 2\n")
    for typed in ("1e1", "2.50", "a b"):
        assert main([command, *words, "--config", "my.yaml", f"--model.layers={typed}"]) == 2
        assert "my.yaml" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "fit"])
def test_a_config_that_says_a_thing_twice_is_refused(tmp_path, monkeypatch, capsys, command):
    """Of which YAML takes the last, without a word; what is repeated by reference is no second time."""
    files = "data: &files {layouts: [text]}\n"
    configured(tmp_path, monkeypatch, f"{files}model:\n  layers: 2\n  width: 64\n  layers: 3\n")
    words = ["my.yaml", "."] if command == "train" else ["--config", "my.yaml", "--data.path", "."]
    assert main([command, *words]) == 1
    assert capsys.readouterr().err == "helicon: my.yaml, line 5: layers a second time; once is accepted\n"
    (tmp_path / "shared.yaml").write_text("trainer: &none {}\nmodel: *none\n")
    assert preset(str(tmp_path / "shared.yaml")) == {"trainer": {}, "model": {}}


@pytest.mark.parametrize("command", ["train", "fit"])
def test_of_several_configs_the_one_that_counts_is_named(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("once upon a time")
    words = ["--config", "tiny", "--config", "my.yaml"]
    words = ["text", ".", *words] if command == "train" else ["--config", "text", *words, "--data.path", "."]
    for text, message in (
        ("model: {layers: many}", "--model.layers: Expected a <class 'int'>. Got value: many"),
        (
            "data: {size: 32}",
            "--data.size: files of text are not read with it; "
            "accepted are --data.encoding, --data.separator, --data.captions",
        ),
    ):
        (tmp_path / "my.yaml").write_text(f"# of mine\n{text}")
        assert main([command, *words]) == 2
        assert capsys.readouterr().err.splitlines()[-1] == f"helicon: {message} (my.yaml, line 2)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b\n", "my.yaml: these are no settings; "),
        ("model: 5\n", "my.yaml: model is no settings; "),
        ("model: {layers: [\n", "my.yaml: no YAML ("),
        ("# A run of helicon, format 1\nmodel: {layers: 2}\n", "my.yaml: of another format of runs; "),
    ],
)
@pytest.mark.parametrize("command", ["train", "fit"])
def test_a_config_that_is_none_is_named(tmp_path, monkeypatch, capsys, command, text, said):
    configured(tmp_path, monkeypatch, text)
    words = ["text", "."] if command == "train" else ["--config", "text", "--data.path", "."]
    assert main([command, *words, "--config", "my.yaml"]) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"helicon: {said}")


def test_an_empty_config_says_nothing(tmp_path):
    (tmp_path / "my.yaml").write_text("# nothing yet\n")
    assert HeliconCLI("fit", ["--config=text", f"--config={tmp_path}/my.yaml", "--data.path=x"]).config["task"] == "gpt"
