"""Untrained models of sound in two styles, and a codec of two levels or more, which tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.storage import save_bundle
from helicon.bundle.upsamplers import attach_bundle
from helicon.formats.audio import Sound
from helicon.gpt.model import GPTConfig
from helicon.modalities.audio import codes_tokenizer
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.labels import LabelTokenizer
from helicon.tokenizers.lyrics import LyricsTokenizer
from helicon.tokenizers.mulaw import MulawTokenizer
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.text import BytesTokenizer
from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.config import AudioCodecConfig
from helicon.vqvae.storage import CodecBundle

RATE = 8000


def sound_codec(seed: int = 0, hops: tuple[int, ...] = (4, 16)) -> CodecBundle:
    """Levels of these hops, of 18 codes each, with weights large enough that all sorts of codes are heard."""
    torch.manual_seed(seed)
    shape = AudioCodecConfig(hops=hops, rate=RATE, width=8, depth=1, quantizer="fsq", levels=(3, 3, 2))
    codec = AudioCodec(shape).eval()
    for parameter in codec.parameters():
        parameter.data.mul_(3)
    return CodecBundle(codec=codec, medium="audio", reading={"rate": RATE, "channels": 1})


def noise(samples: int, seed: int = 0) -> Sound:
    """So many samples at random."""
    return Sound(np.random.default_rng(seed).normal(0, 0.3, (samples, 1)).astype(np.float32), RATE)


def sound_bundle(
    layouts: str = "style[1] audio", tokenizer: str = "codes", context: int = 40, seed: int = 1,
    codec: CodecBundle | None = None, level: int = -1,
) -> Bundle:  # fmt: skip
    """Of codes of a level, or of mu-law samples; of layouts `a; b`, or an upsampler's, which has the codes above."""
    codec = codec or sound_codec()
    known: dict[str, Tokenizer] = {"style": LabelTokenizer(["bell", "gong"]), "lyrics": LyricsTokenizer()}
    known |= {"audio": codes_tokenizer(codec, level) if tokenizer == "codes" else MulawTokenizer(RATE)}
    known |= {"above": codes_tokenizer(codec, level + 1, "above")} if "above" in layouts else {}
    known["text"] = BytesTokenizer()
    parsed = [Layout.parse(layout) for layout in layouts.split("; ")]
    slots = {slot: known[slot] for layout in parsed for slot in layout.all_slots}
    sequencer = Sequencer(parsed, slots, context)
    torch.manual_seed(seed)
    gpt = make_gpt(GPTConfig(layers=1, width=16, heads=2), sequencer.schema)
    for parameter in gpt.parameters():
        parameter.data.mul_(8 if parameter.dim() > 1 else 1)
    names = {"style": "labels", "lyrics": "lyrics", "audio": tokenizer, "above": "codes", "text": "bytes"}
    return Bundle(gpt=gpt, sequencer=sequencer, tokenizer_names={slot: names[slot] for slot in slots})


def upsampled(
    folder: Path, top: Bundle | None = None, layout: str = "style[1] audio@above", hops: tuple[int, ...] = (4, 16)
) -> Path:
    """A model at FOLDER/model with upsamplers to every finer level of its codec; gives the folder."""
    codec = sound_codec(hops=hops)
    save_bundle(top or sound_bundle(codec=codec), folder / "model")
    for level in range(len(hops) - 1):
        save_bundle(sound_bundle(layout, codec=codec, level=level, context=60, seed=2), folder / f"upsampler-{level}")
        attach_bundle(folder / f"upsampler-{level}", folder / "model", level)
    return folder
