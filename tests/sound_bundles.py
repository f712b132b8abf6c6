"""Untrained models of sound in two styles, and a codec of two levels, which tests share."""

from __future__ import annotations

import numpy as np
import torch

from helicon.bundle import Bundle, make_gpt
from helicon.formats.audio import Sound
from helicon.gpt.model import Shape
from helicon.modalities.audio import codes_of
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.labels import LabelTokenizer
from helicon.tokenizers.lyrics import LyricsTokenizer
from helicon.tokenizers.mulaw import MulawTokenizer
from helicon.tokenizers.sequencer import Sequencer
from helicon.vqvae.audio_codec import AudioCodec, AudioShape
from helicon.vqvae.storage import CodecBundle

RATE = 8000


def sound_codec(seed: int = 0) -> CodecBundle:
    """Levels of hops 4 and 16 of 18 codes each, with weights large enough that all sorts of codes are heard."""
    torch.manual_seed(seed)
    shape = AudioShape(hops=(4, 16), rate=RATE, width=8, depth=1, quantizer="fsq", levels=(3, 3, 2))
    codec = AudioCodec(shape).eval()
    for parameter in codec.parameters():
        parameter.data.mul_(3)
    return CodecBundle(codec, "audio", {"rate": RATE, "channels": 1})


def noise(samples: int, seed: int = 0, label: str | None = None) -> Sound:
    """So many samples at random."""
    return Sound(np.random.default_rng(seed).normal(0, 0.3, (samples, 1)).astype(np.float32), RATE, label)


def sound_bundle(layout: str = "style[1] audio", tokenizer: str = "codes", context: int = 40) -> Bundle:
    """Of codes of the top level, or of mu-law samples."""
    known: dict[str, Tokenizer] = {"style": LabelTokenizer(["bell", "gong"]), "lyrics": LyricsTokenizer()}
    known["audio"] = codes_of(sound_codec()) if tokenizer == "codes" else MulawTokenizer(RATE)
    parsed = Layout.parse(layout)
    sequencer = Sequencer([parsed], {slot: known[slot] for slot in parsed.sources}, context)
    torch.manual_seed(1)
    gpt = make_gpt(Shape(layers=1, width=16, heads=2), sequencer.schema)
    for parameter in gpt.parameters():
        parameter.data.mul_(8 if parameter.dim() > 1 else 1)
    names = {"style": "labels", "lyrics": "lyrics", "audio": tokenizer}
    return Bundle(gpt, sequencer, {slot: names[slot] for slot in parsed.sources})
