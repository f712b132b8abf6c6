"""The library in a few calls: `train` a folder into a run, `load` its model, `sample` media from it, `save` them.
`repeat` makes a run once more.

They are `helicon.train` and so on, imported when first used, so that `import helicon` does not load PyTorch.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import load_bundle
from helicon.commands.fit import quiet
from helicon.formats.folder_lock import FolderLock
from helicon.generation.generate import Item, generate
from helicon.generation.request import Request
from helicon.generation.runtime import choose_device
from helicon.presets import preset, preset_names
from helicon.training.options import check_typed, merge, typed_config
from helicon.training.plan import max_time
from helicon.training.process_state import process_state_kept
from helicon.training.request import TrainRequest
from helicon.training.resuming import repeated_config
from helicon.training.run import run_lightning

AnyPath = str | os.PathLike[str]
STEPS_BETWEEN_VALIDATIONS = 200


def train(
    folder: AnyPath,
    task: str = "music",
    *,
    size: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    name: str | None = None,
    runs: AnyPath = "runs",
    seed: int = 0,
    options: Sequence[str] = (),
) -> Path:
    """Trains on a folder, searched recursively; gives the run's folder, which `load` takes.

    task: a preset such as `music`, `image` or `text-to-image`, or a layout such as `text[32] music`, whose slots may be
    those of a modality of your own. `image-codec` and `audio-codec` train a codec, whose run others take as their
    tokenizer with `options=["--data.tokenizer", str(codec)]`; otherwise pictures are palettes of colours, and sounds
    mu-law samples.
    size: a preset with the model's shape, `small` unless given or the task has its own; a codec has none.
    minutes, steps: how long, 10 minutes unless given; the learning rate follows whichever ends first.
    name: folder in `runs`; an empty or a new one.
    options: more of what `helicon fit` takes, as on the command line, e.g. `["--model.dropout", "0.2"]`.

    Nothing of the process is left changed, random states included, but that glibc keeps freed memory for reuse.

    RuntimeError in a process that a training has started and that runs the same script once more.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError('a training starts processes: what a script does belongs below `if __name__ == "__main__":`')
    base = preset(task) if task in preset_names() else {"data": {"layouts": [task]}}
    codec = base.get("task", "gpt") != "gpt"
    size = size or (None if codec or "layers" in base.get("model", {}) else "small")
    # A published shape has layouts too
    layouts = {} if codec else {"data": {"layouts": base["data"]["layouts"]}}
    place = {"data": {"path": os.fspath(folder), "seed": seed}, "name": name, "runs": os.fspath(runs)}
    config = merge(base, preset(size) if size else {}, layouts, place)
    trainer: dict[str, Any] = {}
    if steps is not None:
        between = max(1, min(STEPS_BETWEEN_VALIDATIONS, steps // 4))
        trainer |= {"max_steps": steps, "val_check_interval": between}
    if minutes is not None or steps is None:
        trainer["max_time"] = max_time(TrainRequest.minutes if minutes is None else minutes)
    with process_state_kept():
        quiet()
        check_typed("fit", [f"--task={config.get('task', 'gpt')}", *options])
        typed = typed_config(options, config)
        return run_lightning("fit", merge(config, {"trainer": trainer}, typed)).run_folder


def repeat(run: AnyPath, *, name: str | None = None, runs: AnyPath | None = None) -> Path:
    """Makes a run once more, the same step by step whatever limited it; gives the folder of the new one.

    On a CPU with as many threads its weights are those of `run` to the bit, also where minutes were the limit: the
    progress that learning rates followed is on record in `run`.
    name: folder in `runs`, which is the folder that `run` lies in unless given.
    """
    with process_state_kept():
        quiet()
        config = repeated_config(Path(run), Path(runs) if runs is not None else None, name)
        return run_lightning("fit", config).run_folder


def load(path: AnyPath, device: str = "auto") -> Bundle:
    """The model of a run or a bundle folder, on `cpu`, `cuda`, `mps` or the best there is."""
    return load_bundle(Path(path), choose_device(device))


def sample(
    model: Bundle,
    count: int = 1,
    seed: int = 0,
    *,
    prime: AnyPath | None = None,
    keep: str | None = None,
    seconds: float | None = None,
    tokens: int | None = None,
    to: str | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    overlap: float = 0.5,
    guidance: float = 1.0,
    best_of: int | None = None,
    **given: str,
) -> list[Item]:
    """New media; item i depends on (weights, request, seed, i) alone. Of sound with upsamplers only the top level.

    prime: a file to continue, keep: how much of it, `8s` or `0.5`. seconds, tokens: how long. to: the slot to make,
    where the model makes several. given: what is known of the other slots, e.g. `style="bach piano"` or `text="slow"`.
    guidance: above 1, heeds what is given more than the model would. best_of: how many to make, of which the `count`
    that fit it best are kept. The rest shapes the draw as the options of `helicon generate` do.
    """
    path = Path(prime) if prime is not None else None
    return generate(
        model,
        Request(
            count=count, seed=seed, given=given, to=to, prime=path, keep=keep, seconds=seconds, tokens=tokens,
            temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, repetition_penalty=repetition_penalty,
            overlap=overlap, guidance=guidance, best_of=best_of,
        ),
    )  # fmt: skip


def save(items: Sequence[Item], folder: AnyPath) -> list[Path]:
    """Writes each item as `folder/NNN.suffix`, with its previews beside it; gives the paths of the items.

    OSError where another process is writing to that folder.
    """
    paths = [Path(folder) / f"{place:03d}{item.modality.suffixes[0]}" for place, item in enumerate(items)]
    Path(folder).mkdir(parents=True, exist_ok=True)
    with FolderLock(Path(folder)):
        for path, item in zip(paths, items):
            item.modality.write(item.media, path)
            item.modality.preview(item.media, path)
    return paths
