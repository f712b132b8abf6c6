"""A judge of one's own: of several pictures the most colourful is kept (Hasler and Suesstrunk 2003, section 5).

helicon generate runs/image-1 -n 4 --best-of 16 --by colourful --plugin own_judge.py
"""

import numpy as np

import helicon


@helicon.register_judge("colourful")
def colourful(candidates: helicon.Candidates) -> list[float]:
    """Score the colourfulness of each picture, the higher the more; for models of pictures alone."""
    return [colourfulness(np.asarray(picture, np.float64)) for picture in candidates.media]


def colourfulness(picture_HWC: np.ndarray) -> float:
    """Compute the colourfulness of a picture [H, W, 3] of values 0 to 255."""
    red, green, blue = np.moveaxis(picture_HWC, -1, 0)
    differences = red - green, (red + green) / 2 - blue
    spread = np.hypot(*(difference.std() for difference in differences))
    return float(spread + 0.3 * np.hypot(*(difference.mean() for difference in differences)))
