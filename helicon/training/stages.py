"""The trainings that one command stands for: a codec, the model of its codes, upsamplers to finer levels, in order.

Each stage is a run of its own whose config says which command follows, so that any of them can be gone on with.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from helicon.bundle.storage import find_bundle, load_bundle
from helicon.bundle.upsamplers import attach_bundle, upsamplers_of
from helicon.modalities.audio import RATE
from helicon.presets import preset_names
from helicon.sequence.layout import Layout
from helicon.tokenizers.sound_codes import SoundCodesTokenizer
from helicon.training.codec_plan import codec_first, planned_data, shared, with_codec
from helicon.training.errors import TrainingError
from helicon.training.hops import parse_hops
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
    first, found, top = codec_first(wanted), [], 0
    if wanted.levels > 1:
        top = _top_of(wanted, first)
        if top + 1 < wanted.levels:
            raise ValueError(f"--levels {wanted.levels}: its sound has {top + 1}")
    if first:
        first = replace(first, rest=[*first.rest, *_hops(wanted, first)])
        run = choose_run(wanted.runs, first.name, first.task)
        found, wanted = [first], with_codec(wanted, first, run)
    name = choose_run(wanted.runs, wanted.name, Path(wanted.task).stem).name
    minutes = wanted.minutes / (2 if wanted.levels > 1 else 1)
    found.append(replace(wanted, name=name, minutes=minutes, levels=1))
    for level in range(top - 1, top - wanted.levels, -1):
        found.append(
            replace(
                wanted, task=UPSAMPLER, minutes=minutes / (wanted.levels - 1), name=f"{name}-upsampler-{level}",
                adopt=None, onto=wanted.runs / name, levels=1, rest=shared(wanted.rest),
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
    words = [wanted.task, str(wanted.path), "--minutes", f"{wanted.minutes:g}"]
    words += ["--size", wanted.size] if wanted.size != Wanted.size else []
    words += ["--runs", str(wanted.runs)] if wanted.runs != Wanted.runs else []
    words += ["--seed", str(wanted.seed)] if wanted.seed != Wanted.seed else []
    words += ["--from", str(wanted.adopt)] if wanted.adopt else []
    words += ["--name", wanted.name] if wanted.name else []
    words += ["--manifest", str(wanted.manifest)] if wanted.manifest else []
    words += ["--for", str(wanted.onto)] if wanted.onto else []
    return [*words, *wanted.rest]


def _top_of(wanted: Wanted, first: Wanted | None) -> int:
    """The level that the model makes, 0 the finest; -1 where it makes sound that has none."""
    if first:
        return len(parse_hops(_own_hops(first) or f"auto:{wanted.levels}", RATE)) - 1
    tokenizer = planned_data(wanted).adopted_tokenizers.get(UPSAMPLED)
    return tokenizer.level if isinstance(tokenizer, SoundCodesTokenizer) else -1


def _hops(wanted: Wanted, first: Wanted) -> list[str]:
    """Arguments for a codec of as many levels as are wanted, unless it has some of its own."""
    return ["--model.hops", f"auto:{wanted.levels}"] if wanted.levels > 1 and not _own_hops(first) else []


def _own_hops(codec: Wanted) -> Any:
    """As the preset of a codec has them, if it does."""
    return (preset(codec.task).get("model") or {}).get("hops")


def _upsampler(wanted: Wanted) -> Wanted:
    """The upsampler that a run lacks next: from its finest level so far to the one below."""
    assert wanted.onto is not None
    if wanted.adopt or not _upsamples(wanted.task):
        known = [name for name in preset_names() if _upsamples(name)]
        raise ValueError(f"--for {wanted.onto}: one of {', '.join(known)} is needed, without --from")
    if wanted.levels > 1:
        raise ValueError(f"--levels {wanted.levels}: --for trains one upsampler, to the next finer level")
    level, style = finest(wanted.onto), load_bundle(wanted.onto).tokenizer_names.get("style")
    layout = "style[1] audio@above" if style else "audio@above"
    names = {"audio": f"{wanted.onto}@{level - 1}", "above": f"{wanted.onto}@{level}"}
    names |= {"style": style} if style else {}
    words = ["--data.layouts", json.dumps([layout]), "--data.tokenizers", json.dumps(names)]
    return replace(wanted, rest=[*words, *wanted.rest])


def _upsamples(task: str) -> bool:
    """Whether a preset makes what is guided by the codes above it."""
    return "@" in str((preset(task).get("data") or {}).get("layouts"))


def finest(run: Path) -> int:
    """The finest level that a run makes so far. TrainingError when there is none below it to be trained."""
    made = upsamplers_of(find_bundle(run))
    tokenizer = load_bundle(made[-1] if made else run).sequencer.tokenizers.get(UPSAMPLED)
    if not isinstance(tokenizer, SoundCodesTokenizer):
        raise TrainingError(f"--for {run}: a model of sound by the codes of a codec is needed")
    if tokenizer.level < 1:
        raise TrainingError(f"--for {run}: it makes the finest level of its codec already")
    return tokenizer.level


def attach(run: Path, onto: Path) -> Path:
    """Puts a trained upsampler, also one that was trained on, into the model that it is for; gives its place there."""
    tokenizer = load_bundle(run).sequencer.tokenizers[UPSAMPLED]
    assert isinstance(tokenizer, SoundCodesTokenizer)
    return attach_bundle(find_bundle(run), find_bundle(onto), tokenizer.level)
