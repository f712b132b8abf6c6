"""The world of tones: play, train a codec and a model of captions and sounds, measure whether it heeds captions."""

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
from helicon.demos.result import draw_losses, model_settings
from helicon.demos.sound_codec_result import summary
from helicon.demos.tone_checker import CHANCE, score
from helicon.demos.tones import RATE, SAMPLES, Tones, held_out_tones, write_folder
from helicon.formats.audio import Sound, write_audio
from helicon.formats.files import write_json
from helicon.formats.page import PageItem, write_page
from helicon.formats.sound_plots import sound_picture
from helicon.generation.decode_request import Prompt, Sampling
from helicon.generation.engine import decode
from helicon.gpt.sampler import methods
from helicon.modalities.audio import AUDIO
from helicon.training.codec_plan import CodecPlan
from helicon.training.metrics import read_metrics
from helicon.training.plan import Plan, Say

INTRO = """\
A program played {pieces:,} pairs of notes, plucked, bowed or blown, each with a caption. A codec learned to write a \
second of sound as {codes} codes, and a model of {millions:.1f} million parameters learned which codes follow which \
caption. No caption below was in training: a fifth of all pairs of notes were held out.
Of {samples} samples for {captions} such captions, {right:.1f} % have both pitches, both timbres and their order as \
asked, heard by a program that knows neither the model nor the player. Guessing gets one in {guess:,} right; measured \
against other captions, the same sounds get {shuffled:.1f} % right."""

HOP = 64  # half of what a tone repeats after
LAYOUT = f"text[12] audio[{SAMPLES // HOP}]"
CAPTIONS, EACH, SHOWN = 64, 4, 12
TEMPERATURE = 0.5  # a model this young errs often
RIGHT = "all_right"


@dataclass(frozen=True)
class SoundWorld(CaptionedWorld):
    """Pairs of notes."""

    minutes: float = 3.0
    pieces: int = 6000

    things, codec_steps_a_minute, steps_a_minute, codec_share = "sounds", 600, 300, 0.25


def make_world(world: SoundWorld) -> None:
    """Writes the sounds and their captions; the same for the same seed and number."""
    write_folder(world.folder, world.pieces, world.seed)


def plan_codec(world: SoundWorld, say: Say) -> CodecPlan:
    """Plan of the codec's training."""
    rest = ["--data.rate", str(RATE), "--data.window", str(SAMPLES // 2), "--model.hops", str(HOP)]
    rest += ["--model.stride", str(HOP), "--model.depth", "1", "--model.width", "128"]
    rest += ["--model.code_width", "32", "--model.lr", "0.006", "--model.mel", "0.1"]
    return world.plan_codec("audio-codec", rest, say)


def plan_model(world: SoundWorld, say: Say) -> Plan:
    """Plan of the model's training."""
    return world.plan_model("text-to-audio", LAYOUT, 32, say)


@dataclass(frozen=True)
class Played:
    """Sounds made for a caption."""

    tones: Tones
    sounds: list[Sound]

    @cached_property
    def right(self) -> list[dict[str, bool]]:
        """What each sound has of what was asked for."""
        return [score(sound.samples, sound.rate, self.tones) for sound in self.sounds]


def play_captions(bundle: Bundle, asked: Sequence[Tones], each: int, seed: int) -> list[Played]:
    """Some sounds for each caption, all sampled at once."""
    layout, tokenizers = bundle.schema.layouts[0], bundle.sequencer.tokenizers
    prompts = [Prompt({"text": tokenizers["text"].encode(tones.caption)}) for tones in asked for _ in range(each)]
    made = decode(bundle.gpt, bundle.sequencer, layout, prompts, Sampling(methods(TEMPERATURE), seed))
    sounds = AUDIO.decode(tokenizers["audio"], made)
    return [Played(tones, sounds[n * each : (n + 1) * each]) for n, tones in enumerate(asked)]


def figures_of(played: Sequence[Played]) -> dict[str, float]:
    """Share of the sounds that have each attribute as asked, and all; shuffled: against the caption after theirs."""
    rows = [right for each in played for right in each.right]
    figures = {name: float(np.mean([row[name] for row in rows])) for name in CHANCE}
    others = [Played(after.tones, each.sounds) for each, after in zip(played, [*played[1:], played[0]])]
    return {**figures, "shuffled": float(np.mean([right[RIGHT] for each in others for right in each.right]))}


def show_world(world: SoundWorld, plan: Plan, begun: float, next_steps: list[str]) -> tuple[Path, dict[str, float]]:
    """Plays captions that were held out, writes the page and report.json; gives the page's path and the figures."""
    bundle, rng = load_bundle(plan.run), np.random.default_rng((world.seed, 1))
    played = play_captions(bundle, [held_out_tones(rng) for _ in range(CAPTIONS)], EACH, world.seed)
    figures = figures_of(played)
    page = _write_page(world, plan, bundle, played, figures, next_steps)
    report = {
        "model": str(plan.run / "model"), "attribute_accuracy": figures[RIGHT],
        "attributes": {name: figures[name] for name in CHANCE}, "chance": CHANCE,
        "captions": CAPTIONS, "samples": EACH, "shuffled_captions": figures["shuffled"],
        "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip
    write_json(world.out / "report.json", report)
    return page, figures


def _write_page(
    world: SoundWorld, plan: Plan, bundle: Bundle, played: Sequence[Played], figures: dict[str, float],
    next_steps: Sequence[str],
) -> Path:  # fmt: skip
    page, items = world.out / "index.html", []
    for number, each in enumerate(played[:SHOWN]):
        path = world.out / "generated" / f"{number:03d}.wav"
        write_audio(each.sounds[0], path)
        picture = path.with_suffix(".png")
        sound_picture(each.sounds[0].samples, each.sounds[0].rate, picture)
        told = "as asked" if each.right[0][RIGHT] else "not as asked"
        sound, shown = path.relative_to(world.out), picture.relative_to(world.out)
        items.append(PageItem(each.tones.caption, told, audio=sound, image=shown, files=[sound]))
    intro = INTRO.format(
        pieces=world.pieces, codes=bundle.schema.layouts[0].last.length, millions=plan.parameters / 1e6,
        samples=CAPTIONS * EACH, captions=CAPTIONS, right=100 * figures[RIGHT], guess=round(1 / CHANCE[RIGHT]),
        shuffled=100 * figures["shuffled"],
    )  # fmt: skip
    rows = {name.replace("_", " "): f"{figures[name]:.3f}; by guessing {CHANCE[name]:.3f}" for name in CHANCE}
    last = {name: values[-1] for name, (_, values) in read_metrics(world.out / "codec").items()}
    settings = {**rows, "codec": summary(last), **{k: str(v) for k, v in model_settings(bundle, plan.prepared).items()}}
    losses = [(text, path.relative_to(world.out)) for text, path in draw_losses(plan.run, plan.prepared, world.out)]
    write_page(page, "Sounds by a model of made-up tones", intro, items, losses, settings, next_steps)
    return page
