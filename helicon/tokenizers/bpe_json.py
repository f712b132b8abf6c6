"""Safe loading of the `tokenizers` library's JSON: byte-level BPE, and nothing whose run time is not bounded.

The library also supports regular expressions, which backtrack, steps that double a text each time, and padding to any
length: a file from elsewhere could use these to exhaust time or memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

from helicon.formats.checked import LONGEST_NAME, fields, integer, one_of, sequence, shown, text

MAX_TOKENS = 1 << 20  # of a vocabulary, and merges: a bound on memory for files from elsewhere
PARTS = (  # keys of the library's JSON of a tokenizer
    "version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder",
    "model",
)  # fmt: skip
NONE = ("truncation", "padding", "post_processor")  # parts that must be null: they would alter the ids of a text
UNUSED = ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix")  # of the model, likewise
MODEL = ("type", *UNUSED, "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges")  # keys of its `model`
NORMALIZERS = ("NFC", "NFD", "NFKC", "NFKD")  # Unicode normal forms
BYTE_LEVEL = ("type", "add_prefix_space", "trim_offsets", "use_regex")  # keys of `pre_tokenizer` and `decoder`
ADDED = ("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special")  # keys of each added token


def check_bpe(described: Any) -> dict[str, Any]:
    """Check that the library's JSON of a tokenizer, parsed, is plain byte-level BPE.

    Token numbers, those of added tokens included, have to be 0 .. n-1. The dict is returned unchanged. ValueError names
    what is not accepted.
    """
    parts = fields("tokenizer", described, PARTS)
    for name in NONE:
        if parts[name] is not None:
            raise ValueError(f"tokenizer with {name}: none is accepted")
    for name in ("pre_tokenizer", "decoder"):
        one_of(f"{name} of a tokenizer", fields(name, parts[name], BYTE_LEVEL)["type"], ("ByteLevel",))
    if parts["normalizer"] is not None:
        one_of("normalizer of a tokenizer", fields("normalizer", parts["normalizer"], ("type",))["type"], NORMALIZERS)
    numbers = _checked_model(parts["model"])
    for added in sequence("added_tokens", parts["added_tokens"], MAX_TOKENS):
        token = fields("added token", added, ADDED)
        content = text("added token", token["content"])
        if not content or numbers.setdefault(content, token["id"]) != token["id"]:
            raise ValueError(f"added token {shown(content)} is empty, or has a number in the vocabulary too")
    for number in numbers.values():
        integer("number of a token", number, 0, len(numbers) - 1)
    if len(set(numbers.values())) != len(numbers):
        raise ValueError("two tokens have the same number")
    return dict(parts)


def load_bpe(described: Any) -> Tokenizer:
    """Load a tokenizer of the library from its parsed JSON, a dict; ValueError where `check_bpe` or it refuses that."""
    try:
        return Tokenizer.from_str(json.dumps(check_bpe(described)))
    except ValueError:
        raise
    except Exception as error:  # the library raises no narrower one
        raise ValueError(f"not a tokenizer that can be read ({error})") from None


def _checked_model(model: Any) -> dict[str, Any]:
    """Return number by token; ValueError unless the model is BPE without dropout."""
    if not isinstance(model, Mapping) or not set(model) <= set(MODEL) or not {"type", "vocab", "merges"} <= set(model):
        raise ValueError(f"model of a tokenizer: {', '.join(MODEL)} are accepted")
    one_of("model of a tokenizer", model["type"], ("BPE",))
    for name in UNUSED:
        if model.get(name):
            raise ValueError(f"{name} of a tokenizer {shown(model[name])}: none is accepted")
    vocabulary = model["vocab"]
    if not isinstance(vocabulary, Mapping) or len(vocabulary) > MAX_TOKENS:
        raise ValueError(f"vocab {shown(vocabulary)}: an object of at most {MAX_TOKENS:,} is accepted")
    for name in vocabulary:
        text("token", name)
    for merge in sequence("merges", model["merges"], MAX_TOKENS):
        if isinstance(merge, str):
            text("merge", merge, 2 * LONGEST_NAME)
        elif len(sequence("merge", merge, 2)) != 2 or not all(part in vocabulary for part in map(str, merge)):
            raise ValueError(f"merge {shown(merge)}: two tokens are accepted")
    return dict(vocabulary)
