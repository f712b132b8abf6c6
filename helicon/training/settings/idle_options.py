"""Options of `fit`, `validate`, `test` and `prepare` that one of them has no use for: typed there, each is refused.

A config may say everything: it is for all of these commands, and for `helicon train`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from helicon.modalities import registry
from helicon.objectives.registry import OBJECTIVES

STAGES = ("--codec", "--next", "--upsampler_of")  # what `helicon train` goes by


# What is of a checkpoint that is gone on from, whatever is typed beside it: tokenizers, and the state of an optimizer
KEPT = ("data.tokenizers", "data.tokenizer", "data.adopt")  # and those by which tokenizers are learned
CHECKED = (
    "model.optimizer",
    "model.lr",
    "model.weight_decay",
    "model.beta2",
    "optimizer",
    "lr_scheduler",
    "data.layouts",
)


@dataclass(frozen=True)
class Idle:
    """Options that do nothing in some commands, and why; those below them neither.

    tasks: of a codec, or what an objective's examples are; all unless given.
    """

    commands: tuple[str, ...]
    options: tuple[str, ...]
    reason: str
    tasks: tuple[str, ...] = ()


FALSE = ("false", "no", "off")  # as they are typed
OWN = ("--optimizer", "--lr_scheduler")  # classes of the user's own
_OURS = ("optimizer", "lr", "weight_decay", "beta2"), ("final_lr", "warmup", "schedule")  # what they take the place of


def _of(group: str, names: str) -> tuple[str, ...]:
    return tuple(f"--{group}.{name}" for name in names.split())


_LEARNING = (
    *_of("model", "optimizer lr final_lr warmup weight_decay beta2 schedule dropout ema recompute head_dropout"),
    *_of("model", "decay rare commitment kl worst spectral mel drop_unused"),
    *_of("data", "changes drop plan workers"),
    *_of("trainer", "max_steps min_steps max_time max_epochs min_epochs limit_train_batches val_check_interval"),
    *_of("trainer", "check_val_every_n_epoch num_sanity_val_steps log_every_n_steps accumulate_grad_batches"),
    *_of("trainer", "gradient_clip_val gradient_clip_algorithm detect_anomaly enable_model_summary"),
    *_of("trainer", "overfit_batches enable_checkpointing enable_autolog_hparams"),
    *OWN,
)
_MEASURING = ("validate", "test")
_TESTING = _of("trainer", "limit_test_batches")
_VALIDATING = (*_of("trainer", "limit_val_batches"), *_of("data", "val_batches"))
_VARYING = _of("data", "changes augment drop plan")  # how training examples do
_BATCHES = _of("data", "batch_size seed changes drop plan window workers val_batches")

IDLE = (
    Idle(("fit",), STAGES, "only `helicon train` trains what goes before or after a run"),
    Idle((*_MEASURING, "prepare"), (*STAGES, "--name", "--runs", "--keep", "--samples", "--repeat"), "no run is made"),
    Idle(_MEASURING, _LEARNING, "nothing is trained"),
    Idle(("fit",), _of("data", "drop"), "labels are learned without any condition", ("labelled",)),
    Idle(("fit",), _VARYING, "pairs are learned from as they are", ("pairs",)),
    Idle(("fit",), _VARYING, "pieces are made under conditions as they are", ("rollouts",)),
    Idle((*_MEASURING, "prepare"), _of("data", "augment"), "nothing is trained", ("codec", "audio-codec")),
    Idle(_MEASURING, _of("data", "batch_size"), "each sound is listened to by itself", ("audio-codec",)),
    Idle(("fit", "validate"), _TESTING, "--trainer.limit_val_batches is what cuts a validation"),
    Idle(("test",), _VALIDATING, "all that is held out is looked at, or --trainer.limit_test_batches of it"),
    Idle(
        ("prepare",),
        ("--trainer", "--model", "--ckpt_path", "--weights_only", *_BATCHES, *OWN),
        "only the cache is made",
    ),
)


def idle_option(command: str, task: str, typed: Iterable[tuple[str, str]], heeded: Collection[str] = ()) -> str | None:
    """Refusal, in one line, of the first typed option that would have no effect; None without any.

    Args:
        command: of Lightning's.
        task: that is trained.
        typed: name and value of each option.
        heeded: options that whoever runs the command goes by.
    """
    values = dict(typed)
    if "--data.changes" in values and values.get("--data.augment", "").lower() in FALSE:
        return "--data.changes would have no effect beside --data.augment false, which stops all changes"
    for own, ours in zip(OWN, _OURS):
        replaced = [name for name in _of("model", " ".join(ours)) if name in values]
        if own in values and replaced:
            return f"{replaced[0]} would have no effect beside {own}, which is in its place"
    kind = OBJECTIVES.get(task).examples if task in OBJECTIVES else task
    for name, value in values.items():
        reason = _reason(command, kind, name)
        if reason and name not in heeded and value != "null":  # which asks for nothing
            return f"{name} would have no effect in {command}: {reason}"
    return None


def settled_option(command: str, task: str, names: Iterable[str]) -> str | None:
    """The first of some options, dotted, that the checkpoint which a command goes on from settles; None without any."""
    learned = [f"data.{name}" for name in registry.fitting_options()]
    checked = (*(CHECKED if command == "fit" else ()), *(("data.rate",) if task == "audio-codec" else ()))
    settled = (*KEPT, *learned, *checked)
    return next((name for name in names if any(f"{name}.".startswith(f"{each}.") for each in settled)), None)


def _reason(command: str, kind: str, name: str) -> str | None:
    """Why an option does nothing, if so. kind: as `Idle.tasks` has it."""
    for idle in IDLE:
        here = command in idle.commands and kind in (idle.tasks or (kind,))
        if here and any(name == option or name.startswith(f"{option}.") for option in idle.options):
            return idle.reason
    return None
