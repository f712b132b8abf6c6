"""Music demo: compose, train the tiny preset, measure, generate, show."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from helicon.bundle.storage import load_bundle
from helicon.demos.composer import write_folder
from helicon.demos.styles import LABELS
from helicon.demos.world import Stage, World
from helicon.evaluation.losses import corpus_nats
from helicon.evaluation.ngram import baselines
from helicon.formats.files import write_json
from helicon.generation.request import Request
from helicon.pages.model_page import PageRequest, write_result
from helicon.training.plan import Log, TrainingPlan, plan_gpt

INTRO = """\
A program composed {pieces} pieces of simple counterpoint. A model of {millions:.1f} million parameters was trained on \
them and made the pieces below: one in each style.
On pieces that it never saw it needs {gpt:.2f} nats a token; counting tokens needs {unigram:.2f}, counting pairs \
{bigram:.2f}. Less is better."""

STEPS_A_MINUTE = 450  # which 2 cores take, so that the result hardly depends on the machine
SAFER: dict[str, Any] = {"temperature": 0.8, "top_p": 0.9}  # a model this young errs often


@dataclass(frozen=True, kw_only=True)
class MusicWorld(World):
    """Demo of counterpoint in several styles.

    Attributes:
        seconds: duration of each generated piece, in seconds.
    """

    minutes: float = 1.0
    pieces: int = 300
    seconds: float = 20.0

    things, making, measuring = "pieces", "composing", "on the validation pieces, and generating one of each style"

    def make(self) -> None:
        write_folder(self.folder, self.pieces, self.seed)

    def stages(self, log: Log) -> Iterator[Stage]:
        """Plan the tiny preset on MuseNet's vocabulary, a third of General MIDI's: one `Stage`.

        Small batches and rare validation, so that a minute has some hundred steps.

        Args:
            log: called with each line of progress.
        """
        # The composer itself varies keys, tempos and volumes
        data = {"tokenizers": {"music": "musenet"}, "batch_size": 8, "val_batches": 8, "augment": False}
        steps = max(1, round(STEPS_A_MINUTE * self.minutes))
        request = self.request("music", steps, "tiny", self.run.name, {"data": data})
        yield Stage(plan_gpt(request, log), steps, self.minutes)

    def next_steps(self) -> list[str]:
        run = shlex.quote(str(self.run))
        return [
            f"helicon generate {run} -n 4 --seed 1 --seconds 30 -o more",
            f"helicon generate {run} --style 'march piano tempo120' --seconds 30 -o march",
            "helicon train music DIR --minutes 10",
        ]

    def show(self, plan: TrainingPlan, begun: float) -> dict[str, float]:
        figures = self.measure(plan)
        asked = [
            PageRequest(
                f"generated/{style}",
                Request(count=1, seed=self.seed + i, conditions={"style": style}, seconds=self.seconds, **SAFER),
                style,
            )
            for i, style in enumerate(LABELS)
        ]
        intro = INTRO.format(
            pieces=self.pieces, millions=plan.parameters / 1e6, gpt=figures["val_nats_per_token"],
            unigram=figures.get("unigram_nats_per_token", 0.0), bigram=figures.get("bigram_nats_per_token", 0.0),
        )  # fmt: skip
        write_result(
            self.out / "index.html", plan.run, plan.prepared, title="Music by a model of made-up music", intro=intro,
            asked=asked, settings={name: f"{value:.3f}" for name, value in figures.items()},
            next_steps=self.next_steps(),
        )  # fmt: skip
        report = {"model": str(plan.run / "model"), **figures, "seconds": round(time.monotonic() - begun, 1)}
        write_json(self.out / "report.json", report)
        return figures

    def measure(self, plan: TrainingPlan) -> dict[str, float]:
        """Compute held-out nats a token of the model and of n-gram baselines, over the same targets.

        Args:
            plan: `TrainingPlan` of the model.

        Returns:
            `val_nats_per_token` of the model, and `NAME_nats_per_token` of each baseline; lower is better.
        """
        bundle, corpus = load_bundle(plan.run), plan.prepared.corpora[0]
        layout = bundle.schema.layouts[0]
        val = [int(i) for i in corpus.select(val=True)]
        nats, targets = corpus_nats(bundle.gpt, bundle.sequencer, corpus, layout, val)
        counted = baselines(corpus, layout.target.name, len(bundle.sequencer.tokenizers[layout.target.name].block))
        figures = {"val_nats_per_token": nats / max(1, targets)}
        return figures | {f"{name}_nats_per_token": value for name, value in counted.items()}
