"""Augmentation that a training has where neither its user nor its preset says any."""

from __future__ import annotations

from typing import Any

from helicon.formats.quantities import quantity
from helicon.modalities import registry
from helicon.tokenizers.codec import tokenizer_weights

# Times that a training sees each picture, from which crops help. Measured on digits by benchmarks/augment.py: at 19 and
# 40 times they lower the best validation loss by 6 to 14 %; at 6 times they raise it by 5 %
MIN_REPEATS = 16
CROP = (0.9, 1.0)  # share of each side; about DALL·E's for its transformer (arXiv:2102.12092, appendix B.2), 8/9 to 1


def augmentation_config(data: Any, steps: int) -> tuple[dict[str, Any], str]:
    """Choose `data.changes` for a GPT: crops of pictures that it will see many times.

    Pictures alone are cropped, with or without labels: captions may say where in a picture something is. So are none
    that a codec encodes, since it would encode each of them anew in each step.

    Args:
        data: data module of the training, set up.
        steps: number of optimizer steps, about.

    Returns:
        (config `data.changes`, {} for none; reason in words).
    """
    for layout in data.layouts:
        media = {registry.for_slot(slot, layout.all_slots).name for slot in layout.all_slots}
        if "image" not in media or media - {"image", "label"}:
            return {}, ""
    if any(tokenizer_weights(tokenizer) for tokenizer in data.sequencer.tokenizers.values()):
        return {}, ""
    pictures = round(data.prepared.scale * sum(len(corpus.select(val=False)) for corpus in data.corpora))
    repeats = steps * data.batch_size // pictures
    if repeats < MIN_REPEATS:
        return {}, ""
    reason = f"crops of {CROP[0]:.0%} to {CROP[1]:.0%} of a side, since each of {quantity(pictures, 'picture')} is seen"
    return {"data": {"changes": {"crop": list(CROP)}}}, f"{reason} about {repeats} times; --data.augment false for none"
