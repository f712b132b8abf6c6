"""How a model of the world of shapes does as captions say, and captions what it sees: combinations not in training.

python benchmarks/shapes.py RUN [--captions 64] [--samples 4]      RUN is of `helicon demo text-to-image`, or of
`helicon train text-and-image` on its folder `pictures`
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import load_bundle
from helicon.demos.pictures import PictureWorld
from helicon.demos.shape_checker import CHANCE
from helicon.demos.shapes import Scene, draw, parse_caption
from helicon.generation.decode_request import Prompt, Sampling
from helicon.generation.engine import decode
from helicon.gpt.sampler import logits_processors
from helicon.sampling import SamplingOptions

WORDS = [(which, word) for which in ("first", "second") for word in ("size", "colour", "shape")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--captions", type=int, default=64)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    bundle = load_bundle(args.run)
    world, rng = PictureWorld(args.run.parent, seed=args.seed), np.random.default_rng((args.seed, 1))
    scenes = [world.held_out(rng) for _ in range(args.captions)]
    made = {layout.target.name for layout in bundle.schema.layouts}
    if "image" in made:
        figures = world.figures(world.sample(bundle, scenes, args.samples))
        print(f"pictures for {args.captions} captions, {args.samples} each; in brackets what guessing reaches")
        print("\n".join(f"  {name:14} {figures[name]:.3f} ({CHANCE[name]:.3f})" for name in CHANCE))
        print(f"  best of {args.samples:<6} {figures['best']:.3f}   other captions {figures['shuffled']:.3f}")
    if "text" in made:
        captions = write_captions(bundle, scenes, args.seed)
        rows = [described(text, scene) for text, scene in zip(captions, scenes)]
        whole = np.mean([all(row) for row in rows])
        print(f"captions for {args.captions} pictures: attributes right {np.mean(rows):.3f}, all of them {whole:.3f}")


def write_captions(bundle: Bundle, scenes: list[Scene], seed: int) -> list[str]:
    """The likeliest caption of a picture of each scene."""
    layout = next(layout for layout in bundle.schema.layouts if layout.target.name == "text")
    tokenizers, rng = bundle.sequencer.tokenizers, np.random.default_rng((seed, 2))
    given = [{"image": tokenizers["image"].encode(draw(scene, rng))} for scene in scenes]
    made = decode(
        bundle.gpt,
        bundle.sequencer,
        layout,
        [Prompt(ids) for ids in given],
        Sampling(chain=logits_processors(SamplingOptions(temperature=0.0))),
    )
    return [tokenizers["text"].decode(ids) for ids in made]


def described(text: str, scene: Scene) -> list[bool]:
    """Which of the seven attributes a caption has right, told from whichever thing fits it better."""
    try:
        told = parse_caption(text)
    except ValueError:
        return [False] * (len(WORDS) + 1)
    ways = [
        [getattr(getattr(told, which), word) == getattr(getattr(way, which), word) for which, word in WORDS]
        + [told.relation == way.relation]
        for way in (scene, scene.turned)
    ]
    return max(ways, key=sum)


if __name__ == "__main__":
    main()
