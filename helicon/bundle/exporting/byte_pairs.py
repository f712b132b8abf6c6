"""Tokenizers of bytes and byte pairs as JSON of the `tokenizers` library, with a token before and after a text."""

from __future__ import annotations

from typing import Any

from tokenizers import pre_tokenizers

from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.text import BYTES, BpeTokenizer, BytesTokenizer

END = "<|endoftext|>"  # GPT-2's name
# GPT-2's pre-tokenizer and decoder
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def byte_pairs(tokenizer: Tokenizer) -> dict[str, Any] | None:
    """Return a tokenizer as parsed JSON of the `tokenizers` library; None unless it is one of bytes or byte pairs."""
    if isinstance(tokenizer, BpeTokenizer):
        return tokenizer.state()["bpe"]
    if not isinstance(tokenizer, BytesTokenizer):
        return None
    # GPT-2 has a visible character for each byte: those that are printed as they are, then U+0100 on for the others
    shown = [byte for byte in range(BYTES) if chr(byte) in pre_tokenizers.ByteLevel.alphabet()]
    hidden = [byte for byte in range(BYTES) if byte not in shown]
    names = {byte: chr(byte) for byte in shown} | {byte: chr(BYTES + n) for n, byte in enumerate(hidden)}
    model = {"type": "BPE", "vocab": {names[byte]: byte for byte in range(BYTES)}, "merges": []}
    parts: dict[str, Any] = {"version": "1.0", "normalizer": None, "added_tokens": [], "model": model}
    return {**parts, "pre_tokenizer": BYTE_LEVEL, "decoder": BYTE_LEVEL}


def end_token(described: dict[str, Any]) -> str:
    """Return the name of the end token: `<|endoftext|>`, with more bars if the tokenizer has that already.

    Args:
        described: parsed JSON of the tokenizer, from `byte_pairs`.
    """
    names, end = {*described["model"]["vocab"], *(token["content"] for token in described["added_tokens"])}, END
    while end in names:
        end = f"<|{end[1:-1]}|>"
    return end


def with_end(described: dict[str, Any], number: int) -> dict[str, Any]:
    """Add an end token, which also begins each text.

    Args:
        described: parsed JSON of a tokenizer, from `byte_pairs`.
        number: id of the end token.

    Returns:
        The parsed JSON with the token; `described` is unchanged.
    """
    end = end_token(described)
    token = {"id": number, "content": end, "special": True}
    added = {**token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    start, text = {"SpecialToken": {"id": end, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    after = {
        "type": "TemplateProcessing", "single": [start, text],
        "pair": [start, text, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {end: {"id": end, "ids": [number], "tokens": [end]}},
    }  # fmt: skip
    return {**described, "added_tokens": [*described["added_tokens"], added], "post_processor": after}
