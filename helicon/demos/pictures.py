"""The world of shapes: draw, train a codec and a model of captions and pictures, measure whether it heeds captions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import load_bundle
from helicon.demos.captioned import CaptionedWorld
from helicon.demos.picture_codec_result import summary
from helicon.demos.result import draw_losses, model_settings
from helicon.demos.shape_checker import CHANCE, score
from helicon.demos.shapes import Scene, held_out_scene, write_folder
from helicon.formats.files import write_json
from helicon.formats.page import PageItem, write_page
from helicon.formats.sheets import contact_sheet
from helicon.generation.decode_request import Prompt, Sampling
from helicon.generation.engine import decode
from helicon.generation.ranking import fit_to_conditions
from helicon.gpt.sampler import methods
from helicon.training.codec_plan import CodecPlan
from helicon.training.metrics import read_metrics
from helicon.training.plan import Plan, Say

INTRO = """\
A program drew {pictures:,} pictures of two shapes, each with a caption. A codec learned to write a picture as {codes} \
codes, and a model of {millions:.1f} million parameters learned which codes follow which caption. No caption below was \
in training: each shows a shape of a size and colour where none of that kind ever stood.
Of {samples} samples for {captions} such captions, {right:.1f} % show every named attribute as asked: size, colour and \
kind of both shapes, and how they stand. Guessing gets one in {guess:,} right; measured against other captions, the \
same pictures get {shuffled:.1f} % right."""

LAYOUT = "text[12] image[]"
CAPTIONS, SAMPLES, SHOWN = 64, 4, 12
BEST_OF = 8
TEMPERATURE = 0.5  # a model this young errs often


@dataclass(frozen=True)
class PictureWorld(CaptionedWorld):
    """Pictures of two shapes."""

    minutes: float = 6.0
    pieces: int = 20_000

    things, codec_steps_a_minute, steps_a_minute, codec_share = "pictures", 700, 450, 0.17


def make_world(world: PictureWorld) -> None:
    """Writes the pictures and their captions; the same for the same seed and number."""
    write_folder(world.folder, world.pieces, world.seed)


def plan_codec(world: PictureWorld, say: Say) -> CodecPlan:
    """Plan of the codec's training."""
    rest = ["--data.size", "32", "--data.mirror", "false", "--data.batch_size", "64"]
    rest += ["--model.factor", "8", "--model.blocks", "1", "--model.codes", "768"]
    return world.plan_codec("image-codec", rest, say)


def plan_model(world: PictureWorld, say: Say) -> Plan:
    """Plan of the model's training."""
    return world.plan_model("text-to-image", LAYOUT, 64, say)


@dataclass(frozen=True)
class Drawn:
    """Pictures made for a caption, uint8 [size, size, 3] each, and how well the model itself finds they fit it."""

    scene: Scene
    pictures: list[np.ndarray]
    fits: list[float]

    @cached_property
    def right(self) -> list[dict[str, bool]]:
        """What each picture shows of the scene."""
        return [score(picture, self.scene) for picture in self.pictures]


def held_out_scenes(count: int, seed: int) -> list[Scene]:
    """Scenes of combinations that are never in training."""
    rng = np.random.default_rng((seed, 1))
    return [held_out_scene(rng) for _ in range(count)]


def draw_scenes(bundle: Bundle, scenes: Sequence[Scene], each: int, seed: int) -> list[Drawn]:
    """Some pictures for each caption, all sampled at once."""
    layout, tokenizers = bundle.schema.layouts[0], bundle.sequencer.tokenizers
    given = [{"text": tokenizers["text"].encode(scene.caption)} for scene in scenes]
    prompts = [Prompt(ids) for ids in given for _ in range(each)]
    sampling = Sampling(methods(TEMPERATURE), seed)
    made = decode(bundle.gpt, bundle.sequencer, layout, prompts, sampling)
    drawn = []
    for number, (scene, ids) in enumerate(zip(scenes, given)):
        codes = made[number * each : (number + 1) * each]
        pictures = tokenizers["image"].decode_many(codes)  # type: ignore[attr-defined]
        drawn.append(Drawn(scene, pictures, fit_to_conditions(bundle, layout, ids, codes).tolist()))
    return drawn


def figures_of(drawn: Sequence[Drawn]) -> dict[str, float]:
    """Share of pictures that show each attribute as asked, and all of them; the latter of the best fit of each caption.

    shuffled: the same pictures against the caption after theirs.
    """
    rows = [right for each in drawn for right in each.right]
    figures = {name: float(np.mean([row[name] for row in rows])) for name in CHANCE}
    others = [Drawn(after.scene, each.pictures, each.fits) for each, after in zip(drawn, [*drawn[1:], drawn[0]])]
    shuffled = float(np.mean([right["all_right"] for each in others for right in each.right]))
    best = float(np.mean([each.right[int(np.argmax(each.fits))]["all_right"] for each in drawn]))
    return {**figures, "shuffled": shuffled, "best": best}


def show_world(world: PictureWorld, plan: Plan, begun: float, next_steps: list[str]) -> tuple[Path, dict[str, float]]:
    """Draws held-out scenes, writes the page and report.json; gives the page's path and the figures."""
    bundle = load_bundle(plan.run)
    scenes = held_out_scenes(CAPTIONS, world.seed)
    drawn = draw_scenes(bundle, scenes, BEST_OF, world.seed)
    figures = figures_of([Drawn(each.scene, each.pictures[:SAMPLES], each.fits[:SAMPLES]) for each in drawn])
    of_all = figures_of(drawn)
    figures |= {f"mean_of_{BEST_OF}": of_all["all_right"], f"best_of_{BEST_OF}": of_all["best"]}
    del figures["best"]
    page = _write_page(world, plan, bundle, drawn, figures, next_steps)
    report = {
        "model": str(plan.run / "model"), "attribute_accuracy": figures["all_right"],
        "attributes": {name: figures[name] for name in CHANCE}, "chance": CHANCE,
        "captions": CAPTIONS, "samples": SAMPLES, "shuffled_captions": figures["shuffled"],
        f"mean_of_{BEST_OF}": figures[f"mean_of_{BEST_OF}"], f"best_of_{BEST_OF}": figures[f"best_of_{BEST_OF}"],
        "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip
    write_json(world.out / "report.json", report)
    return page, figures


def _write_page(
    world: PictureWorld, plan: Plan, bundle: Bundle, drawn: Sequence[Drawn], figures: dict[str, float],
    next_steps: Sequence[str],
) -> Path:  # fmt: skip
    page, items = world.out / "index.html", []
    for number, each in enumerate(drawn[:SHOWN]):
        sheet = world.out / "generated" / f"{number:03d}.png"
        contact_sheet(each.pictures[:SAMPLES], sheet, columns=SAMPLES)
        right = sum(found["all_right"] for found in each.right[:SAMPLES])
        shown = sheet.relative_to(world.out)
        items.append(PageItem(each.scene.caption, f"{right} of {SAMPLES} as asked", image=shown, files=[shown]))
    intro = INTRO.format(
        pictures=world.pieces, codes=bundle.schema.layouts[0].last.length, millions=plan.parameters / 1e6,
        samples=CAPTIONS * SAMPLES, captions=CAPTIONS, right=100 * figures["all_right"],
        guess=round(1 / CHANCE["all_right"]), shuffled=100 * figures["shuffled"],
    )  # fmt: skip
    told = {name.replace("_", " "): f"{figures[name]:.3f}; by guessing {CHANCE[name]:.3f}" for name in CHANCE}
    best, mean = figures[f"best_of_{BEST_OF}"], figures[f"mean_of_{BEST_OF}"]
    told[f"best of {BEST_OF}"] = f"{best:.3f}, mean of the {BEST_OF} {mean:.3f}"
    last = {name: values[-1] for name, (_, values) in read_metrics(world.out / "codec").items()}
    told |= {"codec": summary(last), **{k: str(v) for k, v in model_settings(bundle, plan.prepared).items()}}
    losses = [
        (text, picture.relative_to(world.out)) for text, picture in draw_losses(plan.run, plan.prepared, world.out)
    ]
    write_page(page, "Pictures by a model of made-up shapes", intro, items, losses, told, next_steps)
    return page
