"""What worlds of captioned media share: so many minutes for a codec, then for a model of captions and its codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from helicon.training.codec_plan import CodecPlan, make_codec_plan
from helicon.training.plan import Plan, Say, Wanted, make_plan

SLOWEST = 2.5  # times the minutes; a machine that is slower than that gets fewer steps
HELD_OUT = ["--data.held_out", "0.02"]  # what is asked for is not in the folder at all


@dataclass(frozen=True)
class CaptionedWorld:
    """What a demo is made of. out: folder of everything; pieces: media to make.

    In subclasses things is the folder of the media; codec_steps_a_minute and steps_a_minute are what 2 cores take a
    minute for, so that the result hardly depends on them; codec_share is the codec's part of the minutes.
    """

    out: Path
    minutes: float
    pieces: int
    seed: int = 0

    things: ClassVar[str]
    codec_steps_a_minute: ClassVar[int]
    steps_a_minute: ClassVar[int]
    codec_share: ClassVar[float]

    @property
    def folder(self) -> Path:
        """Where the media and captions are."""
        return self.out / self.things

    @property
    def codec_steps(self) -> int:
        """Of the codec's training."""
        return max(1, round(self.codec_steps_a_minute * self.codec_share * self.minutes))

    @property
    def steps(self) -> int:
        """Of the model's training."""
        return max(1, round(self.steps_a_minute * (1 - self.codec_share) * self.minutes))

    def plan_codec(self, task: str, rest: Sequence[str], say: Say) -> CodecPlan:
        """Plan of the codec's training."""
        return make_codec_plan(self._wanted(task, self.codec_steps, "auto", "codec", rest), say)

    def plan_model(self, task: str, layout: str, batch: int, say: Say) -> Plan:
        """Plan of the model's training: the tiny preset, on captions of a token a word."""
        rest = ["--data.layouts", f'["{layout}"]', "--data.vocabulary", "512", "--data.batch_size", str(batch)]
        rest += ["--data.tokenizer", str(self.out / "codec"), "--data.val_batches", "2"]
        return make_plan(self._wanted(task, self.steps, "tiny", "run", rest), say)

    def _wanted(self, task: str, steps: int, size: str, name: str, rest: Sequence[str]) -> Wanted:
        whole = [*rest, *HELD_OUT, "--samples", "false"]
        return Wanted(
            task, self.folder, SLOWEST * self.minutes, steps, size, name, self.out, seed=self.seed, rest=whole
        )  # fmt: skip
