"""How many samples a code stands for: as it is said, or what suits the sounds' rate."""

from __future__ import annotations

from math import log2

CODES_A_SECOND = 500  # at most, of a level whose hop is not given


def parse_hops(hops: str | int | list[int] | None, rate: int) -> tuple[int, ...]:
    """Hops as they are given; ValueError for what cannot be read.

    Without any, powers of 2: one level of at most CODES_A_SECOND, or `auto:N` levels, each four times finer than the
    next, the top one four times coarser than one alone.
    """
    if isinstance(hops, (list, int)):
        return tuple(hops) if isinstance(hops, list) else (hops,)
    words = (hops or "auto").strip("[] ").replace(" ", "").split(",")
    name, _, several = words[0].partition(":")
    if name == "auto" and len(words) == 1 and (several or "1").isdecimal() and int(several or 1) > 0:
        count = int(several or 1)
        alone = max(1, -int(-log2(max(1, rate / CODES_A_SECOND)) // 1))
        top = max(alone + 2 if count > 1 else alone, 2 * count)
        return tuple(2 ** (top - 2 * (count - 1 - i)) for i in range(count))
    if not all(word.isdecimal() for word in words):
        raise ValueError(f"--model.hops {hops}: numbers such as 8,32,128, or auto:N, are accepted")
    return tuple(map(int, words))
