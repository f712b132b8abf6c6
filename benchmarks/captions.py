"""Whether a model heeds captions: nats a picture token given the right caption, another one, and none.

python benchmarks/captions.py RUN DIR [-o sheet.png]      DIR is what it was trained on; held-out pictures are measured
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from helicon.bundle.storage import load_bundle
from helicon.evaluation.losses import open_folder
from helicon.formats.sheets import contact_sheet
from helicon.generation.generate import generate
from helicon.generation.ranking import item_nats
from helicon.generation.request import Request

SHOWN = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("captions.png"), help="pictures for held-out captions")
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--top-k", type=int, default=128)
    args = parser.parse_args()
    bundle = load_bundle(args.run)
    prepared, layouts = open_folder(bundle, args.folder)
    index = next(i for i, layout in enumerate(layouts) if layout.target.name == "image")
    layout, corpus = layouts[index], prepared.corpora[index]
    examples = [corpus.example(int(i)) for i in corpus.select(val=True)]
    captions = [bundle.sequencer.tokenizers["text"].decode(example["text"]) for example in examples]
    right = item_nats(bundle, layout, examples, "image").numpy()
    # The caption of the picture half a folder away: neighbours are often called nearly the same
    half = len(examples) // 2
    others = [{**e, "text": o["text"]} for e, o in zip(examples, [*examples[half:], *examples[:half]])]
    shuffled = item_nats(bundle, layout, others, "image").numpy()
    none = item_nats(bundle, layout, [{"image": example["image"]} for example in examples], "image").numpy()
    tokens = layout.target.length or 1
    print(f"{len(examples)} held-out pictures of {tokens} tokens; nats a token")
    for name, found in {"right caption": right, "another's caption": shuffled, "no caption": none}.items():
        worse = (found - right) / tokens
        error = worse.std() / np.sqrt(len(worse))
        share = f", above the right one for {100 * np.mean(worse > 0):.0f} % of pictures" if found is not right else ""
        print(f"  {name:18} {found.mean() / tokens:.4f}   {worse.mean():+.4f} +- {error:.4f}{share}")
    pictures = []
    for number in range(0, len(examples), max(1, len(examples) // SHOWN)):
        request = Request(
            count=1,
            seed=number,
            conditions={"text": captions[number]},
            to="image",
            top_k=args.top_k,
            guidance=args.guidance,
        )
        pictures += [generate(bundle, request)[0].media]
        print(f"  {captions[number]}")
    contact_sheet(pictures[:SHOWN], args.out, columns=4, smallest=192)
    print(args.out)


if __name__ == "__main__":
    main()
