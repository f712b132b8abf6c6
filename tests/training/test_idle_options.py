"""Every option of every command is read by it or refused by name: none is taken and dropped."""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from helicon.cli import main
from helicon.cli.commands import COMMANDS, LIGHTNING, parser
from helicon.sampling import SamplingOptions
from helicon.training.errors import TrainingError
from helicon.training.options import check_typed
from helicon.training.parser import make_parser
from helicon.training.run import HeliconCLI, run_lightning
from helicon.training.settings.idle_options import STAGE_OPTIONS, idle_option
from helicon.training.settings.lightning_options import UNUSED
from helicon.training.tasks import tasks
from helicon.training.usage_errors import UsageError

PARSERS = "help config print_config plugins"
TRAINER = """accelerator strategy devices num_nodes precision callbacks deterministic benchmark inference_mode plugins
    logger default_root_dir profiler fast_dev_run"""
FITTING = """max_steps min_steps max_time max_epochs min_epochs limit_train_batches limit_val_batches overfit_batches
    val_check_interval num_sanity_val_steps log_every_n_steps accumulate_grad_batches gradient_clip_val
    gradient_clip_algorithm detect_anomaly enable_model_summary enable_progress_bar enable_checkpointing
    enable_autolog_hparams"""
OWN = {  # but for options of the trainer, the model and the data
    "fit": "task name runs weights samples repeat ckpt_path optimizer lr_scheduler",
    "validate": "task ckpt_path verbose", "test": "task ckpt_path verbose", "prepare": "task part on",
}  # fmt: skip
OF_TRAINER = {
    "fit": f"{TRAINER} {FITTING}", "validate": f"{TRAINER} limit_val_batches enable_progress_bar",
    "test": f"{TRAINER} limit_test_batches enable_progress_bar", "prepare": "",
}  # fmt: skip
GPT = """context positions layers width heads pattern mlp mlp_ratio norm tied bias qk_norm qk_ratio attention_ratio
    slot_weights"""
SEQUENCES = """path layouts tokenizers tokenizer manifest val_split augment pedal vocabulary size rate channels colours
    encoding separator captions sources max_mb cache init_from"""
SHAPES = {
    "gpt": GPT, "classify": f"{GPT} auxiliary",
    "codec": "net factor width blocks quantizer codes code_width levels likelihood",
    "audio-codec": "net hops width depth growth stride quantizer codes code_width levels",
}  # fmt: skip
RATES = "optimizer lr final_lr warmup schedule weight_decay beta2"
LEARNING = {
    "gpt": f"{RATES} dropout ema activation_checkpointing",
    "classify": f"{RATES} dropout ema activation_checkpointing head_dropout",
    "codec": f"{RATES} decay commitment kl drop_unused",
    "audio-codec": f"{RATES} decay rare commitment kl worst spectral mel drop_unused",
}  # fmt: skip
CACHED = {  # of the data: what the cache is made by
    "gpt": f"{SEQUENCES} stream", "classify": SEQUENCES, "codec": "path size val_split manifest cache",
    "audio-codec": "path rate channels val_split manifest cache",
}  # fmt: skip
MEASURED = {**dict.fromkeys(("gpt", "classify", "codec"), "batch_size seed"), "audio-codec": "seed window"}
CUT = {"gpt": "val_batches", "classify": "val_batches", "codec": "", "audio-codec": ""}
TRAINED = {
    "gpt": "changes condition_dropout plan workers temperature", "classify": "changes plan workers temperature",
    "codec": "augment changes workers", "audio-codec": "augment changes batch_size workers",
}  # fmt: skip


def read(task: str, command: str) -> set[str]:
    """Options that a command goes by."""
    model = "" if command == "prepare" else SHAPES[task] + (f" {LEARNING[task]}" if command == "fit" else "")
    data = CACHED[task] if command == "prepare" else f"{CACHED[task]} {MEASURED[task]}"
    data += f" {CUT[task]}" if command in ("fit", "validate") else ""
    data += f" {TRAINED[task]}" if command == "fit" else ""
    groups = {"": f"{PARSERS} {OWN[command]}", "trainer.": OF_TRAINER[command], "model.": model, "data.": data}
    return {f"--{group}{name}" for group, names in groups.items() for name in names.split()}


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a wrong command line ends with."""
    assert main(list(words)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def options(task: str) -> dict[str, set[str]]:
    """Command -> all that can be typed, but for groups, which are configs."""
    groups, found = {"--trainer", "--model", "--data", "--print_shtab"}, {}  # the last only where shtab is
    for command in LIGHTNING:
        names = [action.dest for action in make_parser(task, command)._actions]
        found[command] = {f"--{name}" for name in names if not name.endswith(".help")} - groups
    return found


@pytest.mark.parametrize("task", tasks())
def test_every_option_of_a_training_is_read_or_refused(task):
    by_value = {f"--trainer.{name}" for name in UNUSED} | {"--seed_everything", "--weights_only"}
    found = options(task)
    assert set(found) == set(LIGHTNING)
    for command, names in found.items():
        idle = {name for name in names if idle_option(command, task, [(name, "1")])}
        assert names - idle - by_value == read(task, command)
        assert not idle & read(task, command)
        refused = f"would have no effect in {command}: "
        for name in idle:
            with pytest.raises(UsageError, match=f"^{name} {refused}"):
                check_typed(command, ["--task", task, "--data.path=nowhere", f"{name}=1"])
        if idle:
            with pytest.raises(UsageError, match=refused):
                run_lightning(command, ["--task", task, "--data.path=nowhere", f"{min(idle)}=1"])


@pytest.mark.parametrize(
    "words", [["--weights=last"], ["--model.lr", "1"], ["--model.slot_weights.text=1"], ["--model", "x"]]
)
def test_what_only_a_config_may_say_is_one_line(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = error_of(capsys, "prepare", "--config", "text", "--data.path", ".", *words)
    assert line.startswith(f"helicon: {words[0].partition('=')[0]} would have no effect in prepare: ")
    assert list(tmp_path.iterdir()) == []


def test_a_config_may_say_everything(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("weights: last\ncodec: image-codec\nmodel: {lr: 1}\ntrainer: {max_steps: 3}\n")
    for command in LIGHTNING:
        check_typed(command, ["--config", str(config), "--data.path", "x"])
    check_typed("fit", ["--next=null", "--upsampler_of", "null"])


@pytest.mark.parametrize(
    ("command", "word", "option"),
    [
        ("validate", '--trainer={"max_steps": 3}', "--trainer.max_steps"),
        ("test", '--data={"cache": "x", "changes": {}}', "--data.changes"),
        ("prepare", '--model={"lr": 1}', "--model.lr"),
    ],
)
def test_an_option_within_a_group_that_is_typed_as_a_whole(command, word, option):
    for words in ([word], [*word.split("=", 1)]):
        with pytest.raises(UsageError, match=f"^{option} would have no effect in {command}: "):
            check_typed(command, ["--config=text", *words])


@pytest.mark.parametrize(
    ("command", "word", "option"),
    [
        ("fit", "--model.lr=1e-3", "--model.lr"), ("fit", '--model={"beta2": 0.9}', "--model.beta2"),
        ("fit", "--data.tokenizers.text=bytes", "--data.tokenizers.text"), ("fit", "--optimizer=SGD", "--optimizer"),
        ("fit", "--data.layouts=[text]", "--data.layouts"), ("validate", "--data.tokenizer=bytes", "--data.tokenizer"),
        ("test", '--data={"vocabulary": 300}', "--data.vocabulary"),
    ],
)  # fmt: skip
def test_what_a_checkpoint_settles_is_not_typed_beside_it(tmp_path, command, word, option):
    """A config may say it, as that of the run does; what is not of a checkpoint counts."""
    config = tmp_path / "config.yaml"
    config.write_text("model: {lr: 0.5}\ndata: {tokenizers: {text: bytes}, path: nowhere}\n")
    words = ["--config=text", f"--config={config}", "--ckpt_path=x.ckpt"]
    with pytest.raises(UsageError, match=rf"^{re.escape(option)} would have no effect: --ckpt_path x\.ckpt "):
        HeliconCLI(command, [*words, word])
    with pytest.raises(TrainingError, match=r"x\.ckpt: no such checkpoint"):
        HeliconCLI(command, [*words, "--data.batch_size=2"])


@pytest.mark.parametrize("option", STAGE_OPTIONS)
def test_stages_are_of_train(option):
    with pytest.raises(UsageError, match=f"^{option} would have no effect in fit: only `helicon train` trains"):
        run_lightning("fit", ["--config=text", "--data.path=nowhere", option, "[x]"])
    check_typed("fit", [option, "[x]"], STAGE_OPTIONS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["train", "text", ".", "--trainer.limit_test_batches", "3"],
            "--trainer.limit_test_batches would have no effect",
        ),
        (["train", "image-codec", ".", "--codec", "image-codec"], "--codec image-codec would have no effect: "),
        (
            ["train", "text-to-image", ".", "--codec.trainer.max_steps=3"],
            "image-codec DIR --trainer.max_steps` trains one",
        ),
        (["train", "image", ".", "--data.augment=False", "--data.changes={}"], "no effect beside --data.augment false"),
        (
            ["eval", "x", "--data.path", ".", "--seconds", "3"],
            "--seconds would have no effect without --controllability N",
        ),
        (["eval", "x", "--data.path", ".", "--seed", "0"], "--seed would have no effect without --controllability N"),
        (["eval", "x", "--data.path", ".", "--data.val_split=0.1"], "--data.val_split would have no effect: it says"),
    ],
)
def test_options_of_what_is_not_asked_for(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert said in error_of(capsys, *words)


NAMED = {  # read by getattr, a loop over their names
    "demo": {"minutes", "pieces"}, "eval": {"seconds", "seed"}, "generate": set(SamplingOptions.names()),
}  # fmt: skip
ELSEWHERE = {"reconstruct": ["reconstruct_sound"]}  # further modules of a command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_the_other_commands_is_read(command):
    module = COMMANDS[command].target.partition(":")[0]
    found = set(NAMED.get(command, ()))
    for name in [module, *(f"helicon.commands.{more}" for more in ELSEWHERE.get(command, ()))]:
        spec = find_spec(name)
        assert spec is not None
        for node in ast.walk(ast.parse(Path(str(spec.origin)).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "args":
                found.add(node.attr)
    assert {action.dest for action in parser(command)._actions} - {
        "help",
        "plugin",
    } <= found  # plugins are loaded for every command
