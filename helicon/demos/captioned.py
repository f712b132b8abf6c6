"""Demos of captioned media: a codec and a text-conditional model are trained, and caption adherence is measured."""

from __future__ import annotations

import shlex
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import load_bundle
from helicon.demos.world import Stage, World
from helicon.formats.files import write_json
from helicon.formats.page import PageItem, write_page
from helicon.generation.decode_request import Prompt, Sampling
from helicon.generation.engine import decode
from helicon.generation.ranking import fit_to_conditions
from helicon.gpt.sampler import logits_processors
from helicon.modalities import registry
from helicon.pages.codec_page import PAGES
from helicon.pages.model_page import draw_losses, model_settings
from helicon.presets import Config, merge
from helicon.sampling import SamplingOptions
from helicon.tokenizers.codec import decode_all
from helicon.training.codec_plan import plan_codec
from helicon.training.plan import Log, TrainingPlan, plan_gpt
from helicon.training.runs.metrics import read_metrics

HELD_OUT = 0.02  # what is asked for is not in the folder at all
CAPTIONS, SAMPLES, SHOWN = 64, 4, 12  # asked for; made for each; captions on the page
TEMPERATURE = 0.5  # a model this young errs often
RIGHT = "all_right"  # figure: all attributes are as asked


class Captioned(Protocol):
    """Request for a medium, with its caption."""

    @property
    def caption(self) -> str:
        """Caption in words, a text such as "a large red circle above a small blue square"."""
        ...


@dataclass(frozen=True)
class CaptionedSamples:
    """Samples for a caption, the attributes read from each, and the model's score of how well each fits the caption.

    Attributes:
        asked: the request.
        media: decoded media.
        readings: result of `CaptionedWorld.read` for each.
        fits: for each, how well it fits the caption: log-probability in nats, up to a constant; higher is better.
    """

    asked: Captioned
    media: Sequence[Any]
    readings: Sequence[Any]
    fits: Sequence[float]

    def first(self, count: int) -> CaptionedSamples:
        """Return the first `count` samples, as a `CaptionedSamples`."""
        return replace(self, media=self.media[:count], readings=self.readings[:count], fits=self.fits[:count])


@dataclass(frozen=True)
class CaptionedWorld(World):
    """Demo of pictures or sounds with captions.

    Attributes (of subclasses):
        medium: name of the modality.
        layout: layout of the model, such as `text -> image`.
        batch: sequences per training step.
        codec_steps_a_minute: training steps of the codec that 2 cores take a minute, so that the result hardly depends
            on the machine.
        steps_a_minute: likewise, of the model.
        codec_share: part of the minutes for the codec.
        codec_options: config of the codec.
        best_of: samples per caption from which the best fit is chosen.
        title: heading of the page.
        intro: paragraph of the page.
        example: a caption.
        chance: accuracy of guessing, by attribute.
    """

    medium: ClassVar[str]
    layout: ClassVar[str]
    batch: ClassVar[int]
    codec_steps_a_minute: ClassVar[int]
    steps_a_minute: ClassVar[int]
    codec_share: ClassVar[float]
    codec_options: ClassVar[Config]
    best_of: ClassVar[int]
    title: ClassVar[str]
    intro: ClassVar[str]
    example: ClassVar[str]
    chance: ClassVar[Mapping[str, float]]

    @abstractmethod
    def held_out(self, rng: np.random.Generator) -> Captioned:
        """Draw a request, such as a `Scene` or `Tones`, that is never in training, from a NumPy generator."""

    @abstractmethod
    def read(self, output: Any) -> Any:
        """Read the attributes of a sample, a picture or a `Sound`, by a program that knows neither model nor maker.

        The result is for `obeys`: a list of detected shapes or notes.
        """

    @abstractmethod
    def obeys(self, reading: Any, asked: Any) -> dict[str, bool]:
        """Compare a sample's attributes with the request.

        Args:
            reading: result of `read`.
            asked: the request, such as a `Scene` or `Tones`.

        Returns:
            By name of each attribute, and for `all_right`: True if it is as asked.
        """

    @abstractmethod
    def show_samples(self, samples: CaptionedSamples, right: Sequence[bool], stem: Path) -> PageItem:
        """Write the samples of a caption to files.

        Args:
            samples: `CaptionedSamples`, samples of one caption.
            right: for each sample, True if all attributes are as asked.
            stem: path of the files without suffix.

        Returns:
            `PageItem` for the result page.
        """

    @property
    def codec(self) -> Path:
        """Path of the codec's run folder."""
        return self.out / "codec"

    @property
    def codec_steps(self) -> int:
        """Number of training steps of the codec."""
        return max(1, round(self.codec_steps_a_minute * self.codec_share * self.minutes))

    @property
    def steps(self) -> int:
        """Number of training steps of the model."""
        return max(1, round(self.steps_a_minute * (1 - self.codec_share) * self.minutes))

    def stages(self, log: Log) -> Iterator[Stage]:
        """Plan the codec, then the tiny preset on captions of a token a word: two `Stage`s.

        Args:
            log: called with each line of progress.
        """
        codec_minutes = self.minutes * self.codec_share
        options = merge(self.codec_options, {"data": {"val_split": HELD_OUT}})
        request = self.request(f"{self.medium}-codec", self.codec_steps, "auto", self.codec.name, options)
        yield Stage(plan_codec(request, log), self.codec_steps, codec_minutes)
        data = {"layouts": [self.layout], "vocabulary": 512, "batch_size": self.batch, "val_batches": 2}
        data |= {"tokenizer": str(self.codec), "val_split": HELD_OUT}
        request = self.request(f"text-to-{self.medium}", self.steps, "tiny", self.run.name, {"data": data})
        yield Stage(plan_gpt(request, log), self.steps, self.minutes - codec_minutes)

    def next_steps(self) -> list[str]:
        first = self.folder / f"00001{registry.get(self.medium).suffixes[0]}"
        run, codec, first = (shlex.quote(str(path)) for path in (self.run, self.codec, first))
        return [
            f"helicon generate {run} --text {shlex.quote(self.example)} -n 4 --temperature {TEMPERATURE} -o more",
            f"helicon reconstruct {codec} {first} -o codec",
            f"helicon train text-to-{self.medium} DIR --minutes 30",
        ]

    def draw_held_out(self, count: int) -> list[Captioned]:
        """Draw `count` held-out requests, such as `Scene`s or `Tones`; the same for the same seed."""
        rng = np.random.default_rng((self.seed, 1))
        return [self.held_out(rng) for _ in range(count)]

    def sample(self, bundle: Bundle, asked: Sequence[Captioned], per_caption: int) -> list[CaptionedSamples]:
        """Sample media for captions, all in one batch.

        Args:
            bundle: `Bundle` of the trained model.
            asked: requests.
            per_caption: number of samples for each request.

        Returns:
            `CaptionedSamples` for each request.
        """
        layout, tokenizers = bundle.schema.layouts[0], bundle.sequencer.tokenizers
        conditions = [{"text": tokenizers["text"].encode(request.caption)} for request in asked]
        prompts = [Prompt(ids) for ids in conditions for _ in range(per_caption)]
        outputs = decode(
            bundle.gpt,
            bundle.sequencer,
            layout,
            prompts,
            Sampling(chain=logits_processors(SamplingOptions(temperature=TEMPERATURE)), seed=self.seed),
        )
        samples = []
        for number, (request, ids) in enumerate(zip(asked, conditions)):
            codes = outputs[number * per_caption : (number + 1) * per_caption]
            media = decode_all(tokenizers[layout.target.name], codes)
            fits = fit_to_conditions(bundle, layout, ids, codes).tolist()
            samples.append(CaptionedSamples(request, media, list(map(self.read, media)), fits))
        return samples

    def figures(self, samples: Sequence[CaptionedSamples]) -> dict[str, float]:
        """Compute the share of samples that have each attribute as asked, and all of them.

        Args:
            samples: `CaptionedSamples` of several captions.

        Returns:
            Shares 0 .. 1 by name: each attribute; `all_right`; `shuffled`, all attributes against the next caption; and
            `best`, all attributes, of the best fit of each caption.
        """
        right = [[self.obeys(reading, item.asked) for reading in item.readings] for item in samples]
        figures = {name: _mean(row[name] for rows in right for row in rows) for name in self.chance}
        after = zip(samples, [*samples[1:], samples[0]])
        figures["shuffled"] = _mean(
            self.obeys(reading, other.asked)[RIGHT] for item, other in after for reading in item.readings
        )
        figures["best"] = _mean(rows[int(np.argmax(item.fits))][RIGHT] for item, rows in zip(samples, right))
        return figures

    def show(self, plan: TrainingPlan, begun: float) -> dict[str, float]:
        bundle = load_bundle(plan.run)
        samples = self.sample(bundle, self.draw_held_out(CAPTIONS), self.best_of)
        figures, of_all = self.figures([item.first(SAMPLES) for item in samples]), self.figures(samples)
        del figures["best"]
        figures |= {f"mean_of_{self.best_of}": of_all[RIGHT], f"best_of_{self.best_of}": of_all["best"]}
        self._write_page(plan, bundle, samples, figures)
        ranked = {name: value for name, value in figures.items() if name.partition("_of_")[1]}
        report = {
            "model": str(plan.run / "model"), "attribute_accuracy": figures[RIGHT],
            "attributes": {name: figures[name] for name in self.chance}, "chance": dict(self.chance),
            "captions": CAPTIONS, "samples": SAMPLES, "shuffled_captions": figures["shuffled"], **ranked,
            "seconds": round(time.monotonic() - begun, 1),
        }  # fmt: skip
        write_json(self.out / "report.json", report)
        return figures

    def _write_page(
        self, plan: TrainingPlan, bundle: Bundle, samples: Sequence[CaptionedSamples], figures: Mapping[str, float]
    ) -> None:  # fmt: skip
        items = []
        for number, item in enumerate(samples[:SHOWN]):
            few = item.first(SAMPLES)
            right = [self.obeys(reading, few.asked)[RIGHT] for reading in few.readings]
            items.append(self.show_samples(few, right, self.out / "generated" / f"{number:03d}"))
        intro = self.intro.format(
            pieces=self.pieces, codes=bundle.schema.layouts[0].target.length, millions=plan.parameters / 1e6,
            samples=CAPTIONS * SAMPLES, captions=CAPTIONS, right=100 * figures[RIGHT],
            guess=round(1 / self.chance[RIGHT]), shuffled=100 * figures["shuffled"],
        )  # fmt: skip
        rows: dict[str, object] = {
            name.replace("_", " "): f"{figures[name]:.3f}; by guessing {chance:.3f}"
            for name, chance in self.chance.items()
        }
        best, mean = figures[f"best_of_{self.best_of}"], figures[f"mean_of_{self.best_of}"]
        rows[f"best of {self.best_of}"] = f"{best:.3f}, mean of the {self.best_of} {mean:.3f}"
        rows |= {"codec": PAGES[self.medium].summary(read_metrics(self.codec)), **model_settings(bundle, plan.prepared)}
        losses = [(text, path.relative_to(self.out)) for text, path in draw_losses(plan.run, plan.prepared, self.out)]
        write_page(self.out / "index.html", self.title, intro, items, losses, rows, self.next_steps())


def _mean(values: Iterator[bool]) -> float:
    return float(np.mean(list(values)))
