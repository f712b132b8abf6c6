"""The trainings that one command stands for: a codec, the model of its codes, upsamplers to finer levels, in order.

Each stage is a run of its own whose config says which command follows, so that any of them can be gone on with.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from helicon.bundle import attach_bundle, find_bundle, load_bundle, upsamplers_of
from helicon.presets import preset_names
from helicon.sequence.layout import Layout
from helicon.tokenizers.sound_codes import SoundCodesTokenizer
from helicon.training.codec_plan import codec_first, with_codec
from helicon.training.errors import TrainingError
from helicon.training.plan import Wanted, choose_run
from helicon.training.sizes import preset

UPSAMPLED = "audio"  # the medium whose codecs have levels
UPSAMPLER = "audio-upsampler"  # preset


def stages(wanted: Wanted) -> list[Wanted]:
    """What is to be trained, in order; what would stop a later stage raises now, as far as it can be known."""
    if wanted.levels < 1:
        raise ValueError(f"--levels must be 1 or more, got {wanted.levels}")
    if wanted.onto is not None:
        return [_upsampler(wanted)]
    if wanted.levels > 1 and Layout.parse(preset(wanted.task)["data"]["layouts"][0]).last.name != UPSAMPLED:
        raise ValueError(f"--levels {wanted.levels}: {wanted.task} makes no sound, and only sound has levels")
    first, found = codec_first(wanted), []
    if first:
        first = replace(first, rest=[*first.rest, *_hops(wanted)])
        run = choose_run(wanted.runs, first.name, first.task)
        found, wanted = [first], with_codec(wanted, first, run)
    name = choose_run(wanted.runs, wanted.name, Path(wanted.task).stem).name
    minutes = wanted.minutes / (2 if wanted.levels > 1 else 1)
    found.append(replace(wanted, name=name, minutes=minutes, levels=1))
    for level in range(wanted.levels - 2, -1, -1):
        found.append(
            replace(
                wanted, task=UPSAMPLER, minutes=minutes / (wanted.levels - 1), name=f"{name}-upsampler-{level}",
                onto=wanted.runs / name, levels=1, rest=[],
            )
        )  # fmt: skip
    return found


def chained(found: Sequence[Wanted]) -> Wanted:
    """The first stage, which knows the others."""
    *before, chain = found
    for stage in reversed(before):
        chain = replace(stage, rest=[*stage.rest, "--next", json.dumps(as_arguments(chain))])
    return chain


def told(found: Sequence[Wanted]) -> str:
    """What each stage is and takes, for people."""
    return ", then ".join(f"{Path(stage.task).stem} in {stage.minutes:.3g} min" for stage in found)


def as_arguments(wanted: Wanted) -> list[str]:
    """Arguments of `train` that want the same."""
    words = [wanted.task, str(wanted.path), "--minutes", f"{wanted.minutes:g}", "--size", wanted.size]
    words += ["--runs", str(wanted.runs), "--seed", str(wanted.seed)]
    words += ["--name", wanted.name] if wanted.name else []
    words += ["--manifest", str(wanted.manifest)] if wanted.manifest else []
    words += ["--for", str(wanted.onto)] if wanted.onto else []
    return [*words, *wanted.rest]


def _hops(wanted: Wanted) -> list[str]:
    return ["--model.hops", f"auto:{wanted.levels}"] if wanted.levels > 1 else []


def _upsampler(wanted: Wanted) -> Wanted:
    """The upsampler that a run lacks next: from its finest level so far to the one below."""
    assert wanted.onto is not None
    if wanted.adopt or wanted.task not in _upsampling():
        raise ValueError(f"--for {wanted.onto}: one of {', '.join(_upsampling())} is needed, without --from")
    level = finest(wanted.onto)
    layout = "style[1] audio@above" if _has_style(wanted.onto) else "audio@above"
    names = {"audio": f"{wanted.onto}@{level - 1}", "above": f"{wanted.onto}@{level}"}
    rest = [word for slot, name in names.items() for word in (f"--data.tokenizers.{slot}", name)]
    return replace(wanted, rest=["--data.layouts", json.dumps([layout]), *rest, *wanted.rest])


def _upsampling() -> list[str]:
    return [name for name in preset_names() if "@" in str((preset(name).get("data") or {}).get("layouts"))]


def finest(run: Path) -> int:
    """The finest level that a run makes so far. TrainingError when there is none below it to be trained."""
    made = upsamplers_of(find_bundle(run))
    tokenizer = load_bundle(made[-1] if made else run).sequencer.tokenizers.get(UPSAMPLED)
    if not isinstance(tokenizer, SoundCodesTokenizer):
        raise TrainingError(f"--for {run}: a model of sound by the codes of a codec is needed")
    if tokenizer.level < 1:
        raise TrainingError(f"--for {run}: it makes the finest level of its codec already")
    return tokenizer.level


def _has_style(run: Path) -> bool:
    return "style" in load_bundle(run).sequencer.tokenizers


def attach(run: Path, onto: Path) -> Path:
    """Puts a trained upsampler into the model that it is for; gives its place there."""
    return attach_bundle(find_bundle(run), find_bundle(onto), finest(onto) - 1)
