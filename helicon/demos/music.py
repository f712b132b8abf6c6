"""The world of made-up music: compose, train the tiny preset, measure, generate, show."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helicon.bundle.storage import load_bundle
from helicon.demos.baselines import baselines
from helicon.demos.composer import write_folder
from helicon.demos.result import Asked, write_result
from helicon.demos.styles import LABELS
from helicon.evaluation.losses import corpus_nats
from helicon.formats.files import write_json
from helicon.formats.folder_lock import NAME as LOCK
from helicon.generation.request import Request
from helicon.training.plan import Plan, Wanted, make_plan

INTRO = """\
A program composed {pieces} pieces of simple counterpoint. A model of {millions:.1f} million parameters was trained on \
them and made the pieces below: one in each style.
On pieces that it never saw it needs {gpt:.2f} nats a token; counting tokens needs {unigram:.2f}, counting pairs \
{bigram:.2f}. Less is better."""


STEPS_A_MINUTE = 450
SAFER: dict[str, Any] = {"temperature": 0.8, "top_p": 0.9}  # a model this young errs often
SLOWEST = 2.5  # times the minutes; a machine that is slower than that gets fewer steps


@dataclass(frozen=True)
class World:
    """What the demo is made of. out: folder of everything; seconds: of each piece that is generated."""

    out: Path
    minutes: float = 1.0
    pieces: int = 300
    seed: int = 0
    seconds: float = 20.0

    @property
    def steps(self) -> int:
        """Of training: what 2 cores take the minutes for, so that the result hardly depends on the machine."""
        return max(1, round(STEPS_A_MINUTE * self.minutes))

    @property
    def folder(self) -> Path:
        """Where the composed pieces are."""
        return self.out / "pieces"


def check_out(out: Path) -> None:
    """ValueError unless `out` is new or empty."""
    if out.exists() and (not out.is_dir() or any(path.name != LOCK for path in out.iterdir())):
        raise ValueError(f"-o {out}: has something in it; an empty or new folder is needed")


def compose_world(world: World) -> None:
    """Writes the pieces; the same for the same seed and number."""
    write_folder(world.folder, world.pieces, world.seed)


def plan_world(world: World, say: Callable[[str], None]) -> Plan:
    """Plan of the training: the tiny preset on MuseNet's vocabulary, a third of what General MIDI's would take.

    Small batches and few looks at the held-out pieces, so that a minute has some hundred steps.
    """
    rest = ["--data.tokenizers", '{"music": "musenet"}', "--data.batch_size", "8", "--data.val_batches", "8"]
    rest += ["--data.augment", "false", "--samples", "false"]  # the composer itself varies keys, tempos and volumes
    minutes = SLOWEST * world.minutes
    return make_plan(
        Wanted("music", world.folder, minutes, world.steps, "tiny", "run", world.out, seed=world.seed, rest=rest), say
    )


def measure_world(plan: Plan) -> dict[str, float]:
    """Nats a held-out token of the model and of counting, over all held-out pieces and the same targets."""
    bundle, corpus = load_bundle(plan.run), plan.prepared.corpora[0]
    layout = bundle.schema.layouts[0]
    held = [int(i) for i in corpus.select(held=True)]
    nats, targets = corpus_nats(bundle.gpt, bundle.sequencer, corpus, layout, held)
    counted = baselines(corpus, layout.last.name, len(bundle.sequencer.tokenizers[layout.last.name].block))
    figures = {"heldout_nats_per_token": nats / max(1, targets)}
    return figures | {f"{name}_nats_per_token": value for name, value in counted.items()}


def show_world(world: World, plan: Plan, figures: dict[str, float], begun: float, next_steps: list[str]) -> Path:
    """Generates a piece of each style, writes the page and report.json; gives the page's path."""
    asked = [
        Asked(f"generated/{label}", Request(1, world.seed + i, {"style": label}, seconds=world.seconds, **SAFER), label)
        for i, label in enumerate(LABELS)
    ]
    words = {name.partition("_")[0]: value for name, value in figures.items()}
    intro = INTRO.format(
        pieces=world.pieces, millions=plan.parameters / 1e6, gpt=words["heldout"],
        unigram=words.get("unigram", 0.0), bigram=words.get("bigram", 0.0),
    )  # fmt: skip
    page = write_result(
        world.out / "index.html", plan.run, plan.prepared, title="Music by a model of made-up music", intro=intro,
        asked=asked, settings={name: f"{value:.3f}" for name, value in figures.items()}, next_steps=next_steps,
    )  # fmt: skip
    report = {"model": str(plan.run / "model"), **figures, "seconds": round(time.monotonic() - begun, 1)}
    write_json(world.out / "report.json", report)
    return page
