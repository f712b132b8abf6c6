"""PCM tokenizer of sound: a token for each of the 65,536 values of 16 bits. Training data of codecs is stored so.

Shapes: S samples, C channels.
"""

from __future__ import annotations

import numpy as np

from helicon.formats.audio import Sound
from helicon.tokenizers.base import check_ids
from helicon.tokenizers.samples import SampleTokenizer, sound_of

VALUES = 1 << 16  # of 16 bits
SILENT = VALUES // 2  # the id of 0


class PcmTokenizer(SampleTokenizer):
    """Tokenizer with one token for each sample, channels interleaved: the 16-bit value plus 32,768."""

    values = range(-SILENT, SILENT)

    def encode(self, media: Sound) -> np.ndarray:
        """Encode a `Sound` of S samples and C channels to local ids NumPy int64 [S * C], clipped to 16 bits.

        Channels are interleaved. ValueError for another rate or number of channels.
        """
        samples = self._samples(media)
        values = np.rint(samples.astype(np.float64) * SILENT).clip(-SILENT, SILENT - 1)
        return values.astype(np.int64) + SILENT

    def decode(self, ids: np.ndarray) -> Sound:
        """Decode any local ids NumPy int64 [T] to a `Sound`; ValueError for ids outside the block."""
        return sound_of((check_ids(ids, VALUES) - SILENT) / SILENT, self.sample_rate, self.channels)
