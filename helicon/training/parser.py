"""Parser of `fit` and LightningCLI's other commands for each task, and its one-line error messages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]
from pytorch_lightning.cli import LightningArgumentParser

from helicon.data.config import DataConfig
from helicon.formats.nearest import unknown
from helicon.formats.printable import print_text, printable
from helicon.training.settings.config import OptimizerConfig, RunConfig
from helicon.training.settings.lightning_options import DEFAULTS
from helicon.training.settings.words import typed_names
from helicon.training.tasks import tasks
from helicon.training.trainer import HeliconTrainer
from helicon.training.usage_errors import UsageError

UNION_ERROR = "Does not validate against any of the Union subtypes"  # part of a message of jsonargparse
# Parameters of the Trainer's methods that are objects, and no options
RUNTIME_PARAMETERS = {"model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders"}
# Options whose values are mappings -> accepted value, for error messages
MAPPING_EXAMPLES = {
    "data.changes": "{crop: [0.9, 1], flip: 0.5}",
    "data.tokenizers": "{text: bytes}",
    "model.slot_weights": "{text: 0.5}",
}
# Beginning of a group's title -> title in the help
GROUP_TITLES = {
    "Base class for all optimizers": "Optimizer, in place of --model.optimizer",
    "(<class": "Learning-rate scheduler, in place of --model.schedule",
    "Runs the full optimization routine": "Checkpoint to resume from",
}
MAX_MESSAGE = 300  # characters of a parser's message, which repeats the value


class TrainingParser(LightningArgumentParser):
    """Parser whose errors are one line and name the nearest option; abbreviations are not accepted.

    Args:
        task: name of the task whose options it has.
        command: `fit`, `validate`, `test` or `prepare`.
    """

    def __init__(self, *args: Any, task: str = "gpt", command: str = "fit", **kwargs: Any) -> None:
        kwargs["allow_abbrev"] = False
        super().__init__(*args, **kwargs)
        self.task, self.command = task, command

    @property
    def options(self) -> set[str]:
        """Option strings of the command, such as `--model.lr`."""
        return {name for action in self._actions for name in action.option_strings if name.startswith("--")}

    def add_class_arguments(self, *args: Any, **kwargs: Any) -> list[str]:  # type: ignore[override]
        """Add the options of a class, as jsonargparse does, but none that reads a file; return their names.

        A value `auto` would be read from a file of that name.
        """
        return super().add_class_arguments(*args, **{**kwargs, "sub_configs": False})

    def error(self, message: str, ex: Exception | None = None) -> Any:
        raise usage_error(message, self) from ex

    def _print_message(self, message: str, file: Any = None) -> None:
        print_text(message.rstrip("\n").replace(" \b", ""), file)  # jsonargparse takes a space back


def make_parser(task: str, command: str = "fit") -> TrainingParser:
    """Return the parser of a command: the flat groups `model`, `data` and `trainer`, and the options of a run.

    Args:
        task: name of the task whose config classes make the groups.
        command: `fit`, `validate`, `test` or `prepare`.

    Returns:
        The `TrainingParser`, cached: the same for equal arguments.
    """
    classes = tasks()[task]
    return _make_parser(task, command, classes.model(), classes.data())


@cache
def _make_parser(task: str, command: str, model: type[OptimizerConfig], data: type[DataConfig]) -> TrainingParser:
    method = getattr(HeliconTrainer, command)
    parser = TrainingParser(
        task=task,
        command=command,
        prog=f"helicon {command}",
        description=(inspect.getdoc(method) or "").partition("\n")[0],
        epilog=f"example: helicon {command} --config music --data.path ~/midi",
    )
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="preset, or file in YAML")
    parser.add_argument("--seed_everything", type=bool | int, default=False)
    parser.add_class_arguments(data, "data")
    parser.add_class_arguments(model, "model")
    parser.add_class_arguments(RunConfig)
    parser.add_lightning_class_args(HeliconTrainer, "trainer")
    parser.set_defaults({f"trainer.{name}": value for name, value in DEFAULTS.items()})
    parser.add_optimizer_args()
    parser.add_lr_scheduler_args()
    skip: set[str | int] = {name for name in inspect.signature(method).parameters if name in RUNTIME_PARAMETERS}
    parser.add_method_arguments(HeliconTrainer, command, skip=skip)
    for group in parser._action_groups:  # titles that jsonargparse takes from classes of PyTorch and Lightning
        for start, title in GROUP_TITLES.items():
            group.title = title if group.title and group.title.startswith(start) else group.title
    return parser


def usage_error(message: str, parser: TrainingParser) -> UsageError:
    """Turn a parser's message into one line, which for an unknown option names its tasks or the nearest option.

    Args:
        message: of jsonargparse, of any number of lines.
        parser: `TrainingParser` that reports it.

    Returns:
        The `UsageError` to raise.
    """
    text = " ".join(message.split())
    # For a union with a class, such as the type of `--trainer.logger`, keep the first error, which is that of the class
    if nested := re.search(rf"(.*){UNION_ERROR} .*?Errors: - (.+?) - ", text):
        text = nested[1] + nested[2]
    line = printable(text, MAX_MESSAGE)
    # jsonargparse names the merged config, which nobody typed
    line = re.sub(r'^(?:Parser key "?config"?:|--config:) (?=--)', "", line)
    line = re.sub(r"^Group '(\w+)' does not accept option '([\w.-]+)'", r"unrecognized arguments: \1.\2", line)
    line = re.sub(r"^Option '([\w.-]+)'.*", r"unrecognized arguments: \1", line)
    wrong = re.search(r"(?:[Uu]nrecognized arguments: |[Kk]ey )\"?'?(-*[\w.-]+)|^--([\w.]+): ", line)
    unrecognized = re.search(r"[Uu]nrecognized|not expected|is not valid|does not (?:exist|accept)|[Nn]o action", line)
    option = (wrong[1] or wrong[2]).lstrip("-") if wrong else None
    if option and unrecognized:
        others = [task for task in tasks() if task != parser.task and _has(task, parser.command, option)]
        if others:
            return UsageError(f"--{option} is an option of {' and '.join(others)}; this trains {parser.task}", option)
        return UsageError(unknown("option", f"--{option}", _similar_options(option, parser)), option)
    for name, example in MAPPING_EXAMPLES.items():
        if option and f"{option}.".startswith(f"{name}."):
            return UsageError(f"--{name}: names and their values are accepted, such as {example}", name)
    return UsageError(re.sub(r'^Parser key "?([\w.]+)"?', r"--\1", line), option)


def _similar_options(option: str, parser: TrainingParser) -> list[str]:
    """Return the options that end with an unknown name, as `--model.lr` with `lr`; all options where none does."""
    names = sorted(parser.options)
    return [name for name in names if re.search(rf"[._]{re.escape(option)}$", name)] or names


def check_names(words: Sequence[str]) -> None:
    """Validate that some task has each option among the words of a command line.

    Raises:
        UsageError: an unknown option; it may have taken the next word for its value.
    """
    for name in typed_names(words):
        if not any(_has(task, "fit", name) for task in tasks()):
            raise usage_error(f"unrecognized arguments: --{name}", make_parser("gpt"))


def _has(task: str, command: str, option: str) -> bool:
    return f"--{option}" in make_parser(task, command).options
