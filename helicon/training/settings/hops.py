"""Hops of an audio codec's levels, in samples per code: parsed from `--model.hops`, or chosen for the sample rate."""

from __future__ import annotations

from math import log2

MAX_CODES_PER_SECOND = 500  # of a level whose hop is chosen here; a GPT has to predict all of them


def parse_hops(hops: str | int | list[int] | None, rate: int) -> tuple[int, ...]:
    """Parse the hops of a codec's levels, or choose them.

    Chosen hops are powers of 2. A single level has at most MAX_CODES_PER_SECOND; of N levels each is four times finer
    than the next, and the top one is four times coarser than a single level would be.

    Args:
        hops: `8,32,128`, `auto`, `auto:N` for N levels, or numbers; None as `auto`.
        rate: samples a second.

    Returns:
        Tuple of samples per code, one a level, finest first.

    Raises:
        ValueError: other words.
    """
    if isinstance(hops, (list, int)):
        return tuple(hops) if isinstance(hops, list) else (hops,)
    words = (hops or "auto").strip("[] ").replace(" ", "").split(",")
    name, _, levels = words[0].partition(":")
    if name == "auto" and len(words) == 1 and (levels or "1").isdecimal() and int(levels or 1) > 0:
        count = int(levels or 1)
        # Exponents of 2: of a single level's hop, rounded up, and of the top level's
        single = max(1, -int(-log2(max(1, rate / MAX_CODES_PER_SECOND)) // 1))
        top = max(single + 2 if count > 1 else single, 2 * count)
        return tuple(2 ** (top - 2 * (count - 1 - i)) for i in range(count))
    if not all(word.isdecimal() for word in words):
        raise ValueError(f"--model.hops {hops}: numbers such as 8,32,128, or auto:N, are accepted")
    return tuple(map(int, words))
