"""What an upsampler adds: held-out sounds from their coarse codes alone, and from the finer codes made of them.

python benchmarks/sound_levels.py RUN DIR [--sounds 16] [--temperature 1.0]

RUN is a model with an upsampler, DIR the folder that it was trained on; sounds that it never heard go through the
codec's coarser level, then through the upsampler, whose codes the finer level decodes. The last row is what the finer
level makes of its own codes: no upsampler comes closer. Mel distances are to the sound as it was, medians and means.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from helicon.bundle.storage import find_bundle, load_bundle
from helicon.bundle.upsamplers import upsamplers_of
from helicon.data.files import scan, split
from helicon.formats.audio import read_audio
from helicon.formats.spectra import mel_distance
from helicon.generation.decode_request import Prompt, Sampling
from helicon.generation.engine import decode
from helicon.gpt.sampler import logits_processors
from helicon.modalities import registry
from helicon.sampling import SamplingOptions
from helicon.tokenizers.sound_codes import SoundCodesTokenizer


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sounds", type=int, default=16)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--val-split", type=float, default=0.05)
    args = parser.parse_args()
    bundle = load_bundle(upsamplers_of(find_bundle(args.run))[0])
    layout, tokenizers = bundle.schema.layouts[0], bundle.sequencer.tokenizers
    fine, coarse = tokenizers["audio"], tokenizers["above"]
    assert isinstance(fine, SoundCodesTokenizer)
    assert isinstance(coarse, SoundCodesTokenizer)
    entries = scan(args.folder, [registry.get("audio")]).entries
    stems = [str(Path(entry.name).with_suffix("")) for entry in entries]
    held = [entry for entry, out in zip(entries, split(stems, args.val_split)) if out][: args.sounds]
    sounds = [read_audio(entry.files["audio"], **fine.read_options)[0] for entry in held]  # type: ignore[arg-type]
    guides = [coarse.encode(sound) for sound in sounds]
    sampling = Sampling(chain=logits_processors(SamplingOptions(temperature=args.temperature)), seed=0)
    made = decode(bundle.gpt, bundle.sequencer, layout, [Prompt({"above": ids}) for ids in guides], sampling)
    versions = {
        "coarse level alone": [coarse.decode(ids) for ids in guides],
        "coarse level, upsampled": [fine.decode(ids) for ids in made],
        "fine level itself": [fine.decode(fine.encode(sound)) for sound in sounds],
    }
    print(
        f"{len(sounds)} held-out sounds, {coarse.hop} and {fine.hop} samples a code, temperature {args.temperature:g}"
    )
    for name, versions_of in versions.items():
        distances = []
        for before, after in zip(sounds, versions_of):
            x, y = (torch.from_numpy(s.samples[: len(before)].T.copy()) for s in (before, after))
            distances.append(float(mel_distance(x, y, before.rate)))
        print(f"  {name:26} mel distance median {np.median(distances):.3f}, mean {np.mean(distances):.3f}")


if __name__ == "__main__":
    main()
