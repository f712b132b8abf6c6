"""Mutators of files of text: lyrics with times, tables, lines of JSON. JSON itself is in `mutations`."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from random import Random

from mutations import BROKEN, NAMES, NUMBERS, ROUNDS, Mutator, blob, mutator, rearranged, text, tree, written

BYTES = (b"\r", b"\n", b"\0", b"\xff", b"\xef\xbb\xbf", b'"', b"[", b"]", b"<", b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80")

# --- lyrics

TOKENS = re.compile(r"\[[^\]\n]*\]|<[^>\n]*>|\w+|\s+|.", re.DOTALL)
WORDS = (
    "[00:00.00]", "[9999:99.999]", "[10000:00]", "[-1:00]", "[00:60]", "[0:1]", "[00:12.00]", "<00:13.00>", "[00:12",
    "[offset:+200]", "[offset:-99999999]", "[offset:999999999999999999999]", "[offset:" + "9" * 5000 + "]",
    "[offset:-" + "9" * 400 + "]",
    "[offset:1_0]", "[offset:inf]", "[ar:x]", "[#:]", "[:]", "[a:" + "x" * 2000 + "]", " " * 800, "\u2028", "\u0661",
    "[\u0661\u0661:\u0661\u0661]", "\x1b[31m", "\u202e", "\n", "\r", "\x0b", "word", "[" * 300, "<" * 300, "\t",
)  # fmt: skip


def lrc_split(data: bytes) -> list[str]:
    """Lines with their ends."""
    return data.decode().splitlines(keepends=True)


def lrc_edit(rng: Random, line: str) -> str:
    """A time, fact or word doubled, dropped, changed, or another in its place."""
    tokens = TOKENS.findall(line) or [""]
    i = rng.randrange(len(tokens))
    match rng.randrange(5):
        case 0:
            tokens[i] = rng.choice(WORDS)
        case 1:
            tokens.insert(i, rng.choice(WORDS))
        case 2:
            tokens = rearranged(rng, tokens, tokens)
        case 3:
            tokens[i] = text(rng, tokens[i]).encode("utf-8", "ignore").decode()
        case 4:
            tokens[i] = re.sub(r"\d+", lambda _: str(rng.choice(NUMBERS)), tokens[i], count=1)
    return "".join(tokens)


lrc = mutator(lrc_split, lrc_edit, lambda lines: "".join(lines).encode())

# --- tables

CELLS = (*NAMES[:-1], "a.png", "b.png", "../a.png", "/etc/passwd", "a.mid", "a,b", 'a"b', "a\nb", "\0", " ", "x" * 200)


def csv_split(data: bytes) -> list[list[str]]:
    """Rows of cells."""
    return list(csv.reader(io.StringIO(data.decode())))


def csv_edit(rng: Random, row: list[str]) -> list[str]:
    """Another cell, or more or fewer of them."""
    if rng.random() < 0.3:
        return rearranged(rng, row, row)
    i = rng.randrange(len(row) or 1)
    new = rng.choice(CELLS) if rng.randrange(2) or not row else text(rng, row[i])
    return [*row[:i], new, *row[i + 1 :]]


def csv_join(rows: list[list[str]]) -> bytes:
    """Quoted where that is needed."""
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode("utf-8", "surrogatepass")


def _with_bytes(mutate: Mutator) -> Mutator:
    """Some of the files get bytes that such text does not have, or a cell of 200,000."""

    def more(rng: Random, seeds: Sequence[bytes]) -> bytes:
        data = mutate(rng, seeds)
        if rng.random() < 0.005:
            return data + b"x" * 200_000 + b"\n"
        return blob(rng, data, BYTES) if rng.random() < BROKEN else data

    return more


table = _with_bytes(mutator(csv_split, csv_edit, csv_join))

# --- lines of JSON


def jsonl(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """Some of the lines edited as trees, or rearranged."""
    lines = [json.loads(line) for line in rng.choice(seeds).splitlines()]
    for _ in range(rng.choice(ROUNDS)):
        if not lines or rng.random() < 0.3:
            lines = rearranged(rng, lines, lines)
        else:
            i = rng.randrange(len(lines))
            lines[i] = tree(rng, lines[i])
    ascii = bool(rng.randrange(2))
    data = b"\n".join(written(line, ascii) for line in lines)
    return blob(rng, data, BYTES) if rng.random() < BROKEN else data
