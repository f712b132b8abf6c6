"""Idle options: those that would have no effect in `fit`, `validate`, `test` or `prepare`, and are refused when typed.

In a config they are accepted: it serves all of these commands, and `helicon train`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from helicon.modalities import registry
from helicon.objectives.registry import OBJECTIVES

STAGE_OPTIONS = ("--codec", "--next", "--upsampler_of")  # for `helicon train` alone


# Options settled by the checkpoint that a command resumes from, since it stores tokenizers and optimizer state
TOKENIZER_OPTIONS = ("data.tokenizers", "data.tokenizer", "data.init_from")  # beside the media's fitting options
# In `fit` alone: the optimizer's state, and the vocabulary of the layouts
FIT_OPTIONS = (
    "model.optimizer",
    "model.lr",
    "model.weight_decay",
    "model.beta2",
    "optimizer",
    "lr_scheduler",
    "data.layouts",
)


@dataclass(frozen=True)
class IdleRule:
    """Options that have no effect in some commands, and the reason.

    Args:
        commands: of Lightning's.
        options: as they are typed; options below these have no effect either.
        reason: for the message.
        tasks: names of codec tasks, and kinds of an objective's examples; all where empty.
    """

    commands: tuple[str, ...]
    options: tuple[str, ...]
    reason: str
    tasks: tuple[str, ...] = ()


FALSE_WORDS = ("false", "no", "off")  # YAML's words, lower case
USER_CLASS_OPTIONS = ("--optimizer", "--lr_scheduler")  # that name the user's classes
# Options of the group `model` that each of them replaces
_REPLACED_OPTIONS = ("optimizer", "lr", "weight_decay", "beta2"), ("final_lr", "warmup", "schedule")


def _options(group: str, names: str) -> tuple[str, ...]:
    return tuple(f"--{group}.{name}" for name in names.split())


# Options of learning, of measuring, of what varies examples, and of batches; IDLE_RULES has the commands
_LEARNING = (
    *_options(
        "model",
        "optimizer lr final_lr warmup weight_decay beta2 schedule dropout ema activation_checkpointing head_dropout",
    ),
    *_options("model", "decay rare commitment kl worst spectral mel drop_unused"),
    *_options("data", "changes condition_dropout plan workers temperature"),
    *_options("trainer", "max_steps min_steps max_time max_epochs min_epochs limit_train_batches val_check_interval"),
    *_options("trainer", "check_val_every_n_epoch num_sanity_val_steps log_every_n_steps accumulate_grad_batches"),
    *_options("trainer", "gradient_clip_val gradient_clip_algorithm detect_anomaly enable_model_summary"),
    *_options("trainer", "overfit_batches enable_checkpointing enable_autolog_hparams"),
    *USER_CLASS_OPTIONS,
)
_MEASURING = ("validate", "test")
_TESTING = _options("trainer", "limit_test_batches")  # of `helicon test` alone
_VALIDATING = (*_options("trainer", "limit_val_batches"), *_options("data", "val_batches"))
_VARYING = _options(
    "data", "changes augment condition_dropout plan"
)  # augmentation of training examples, and condition dropout
_BATCHES = _options("data", "batch_size seed changes condition_dropout plan window workers val_batches temperature")

IDLE_RULES = (
    IdleRule(("fit",), STAGE_OPTIONS, "only `helicon train` trains what goes before or after a run"),
    IdleRule(
        (*_MEASURING, "prepare"),
        (*STAGE_OPTIONS, "--name", "--runs", "--weights", "--samples", "--repeat"),
        "no run is made",
    ),
    IdleRule(_MEASURING, _LEARNING, "nothing is trained"),
    IdleRule(
        ("fit",), _options("data", "condition_dropout"), "labels are learned without any condition", ("labelled",)
    ),
    IdleRule(("fit",), _VARYING, "pairs are learned from as they are", ("pairs",)),
    IdleRule(("fit",), _VARYING, "pieces are made under conditions as they are", ("rollouts",)),
    IdleRule(
        ("fit", *_MEASURING, "prepare"),
        _options("data", "stream"),
        "a stream has sequences alone, without labels, pairs or rewards",
        ("labelled", "pairs", "rollouts"),
    ),
    IdleRule((*_MEASURING, "prepare"), _options("data", "augment"), "nothing is trained", ("codec", "audio-codec")),
    IdleRule(_MEASURING, _options("data", "batch_size"), "each sound is listened to by itself", ("audio-codec",)),
    IdleRule(("fit", "validate"), _TESTING, "--trainer.limit_val_batches is what cuts a validation"),
    IdleRule(("test",), _VALIDATING, "a test measures all validation files, or --trainer.limit_test_batches of them"),
    IdleRule(
        ("prepare",),
        ("--trainer", "--model", "--ckpt_path", "--weights_only", *_BATCHES, *USER_CLASS_OPTIONS),
        "only the cache is made",
    ),
)


def idle_option(
    command: str, task: str, typed: Iterable[tuple[str, str]], supported: Collection[str] = ()
) -> str | None:  # fmt: skip
    """Find the first typed option that would have no effect.

    Args:
        command: `fit`, `validate`, `test` or `prepare`.
        task: name of an objective or a codec task.
        typed: name and value of each option, as `typed_options` yields them.
        supported: options that the caller uses itself, though the command does not.

    Returns:
        Refusal, a text of one line; None without such an option.
    """
    values = dict(typed)
    if "--data.changes" in values and values.get("--data.augment", "").lower() in FALSE_WORDS:
        return "--data.changes would have no effect beside --data.augment false, which stops all changes"
    for option, names in zip(USER_CLASS_OPTIONS, _REPLACED_OPTIONS):
        replaced = [name for name in _options("model", " ".join(names)) if name in values]
        if option in values and replaced:
            return f"{replaced[0]} would have no effect beside {option}, which is in its place"
    kind = OBJECTIVES.get(task).examples if task in OBJECTIVES else task
    for name, value in values.items():
        reason = _reason(command, kind, name)
        if reason and name not in supported and value != "null":  # null is the default of what it is typed for
            return f"{name} would have no effect in {command}: {reason}"
    return None


def settled_option(command: str, task: str, names: Iterable[str]) -> str | None:
    """Find the first option that the checkpoint settles from which a command resumes.

    Args:
        command: `fit`, `validate`, `test` or `prepare`.
        task: name of an objective or a codec task.
        names: dotted names of typed options.

    Returns:
        Dotted name of the option, such as `model.width`; None without any.
    """
    learned = [f"data.{name}" for name in registry.fitting_options()]
    checked = (*(FIT_OPTIONS if command == "fit" else ()), *(("data.rate",) if task == "audio-codec" else ()))
    settled = (*TOKENIZER_OPTIONS, *learned, *checked)
    return next((name for name in names if any(f"{name}.".startswith(f"{option}.") for option in settled)), None)


def _reason(command: str, kind: str, name: str) -> str | None:
    """Return the reason why an option has no effect, if so; `kind` is one of `IdleRule.tasks`."""
    for rule in IDLE_RULES:
        applies = command in rule.commands and kind in (rule.tasks or (kind,))
        if applies and any(name == option or name.startswith(f"{option}.") for option in rule.options):
            return rule.reason
    return None
