"""Sound as it is in a 16-bit file: a token for each of 65,536 values. What a codec is trained on is kept so.

Shapes: S samples, C channels.
"""

from __future__ import annotations

import numpy as np

from helicon.formats.audio import Sound
from helicon.tokenizers.base import check_ids
from helicon.tokenizers.samples import SampleTokenizer, sound_of

VALUES = 1 << 16
SILENT = VALUES // 2  # the id of 0


class PcmTokenizer(SampleTokenizer):
    """A token for each sample, the channels of each moment in turn: the 16-bit value plus 32,768."""

    values = range(-SILENT, SILENT)

    def encode(self, media: Sound) -> np.ndarray:
        """int64 [S * C], what is beyond 16 bits as the outermost value; ValueError for another rate or channels."""
        samples = self._samples(media)
        values = np.rint(samples.astype(np.float64) * SILENT).clip(-SILENT, SILENT - 1)
        return values.astype(np.int64) + SILENT

    def decode(self, ids: np.ndarray) -> Sound:
        """Sound of any ids; ValueError for ids outside the block."""
        return sound_of((check_ids(ids, VALUES) - SILENT) / SILENT, self.sample_rate, self.channels)
