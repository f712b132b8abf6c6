"""Documents in one text file: a mark such as `<|endoftext|>` parts them, and is no letters of any."""

from __future__ import annotations

END_OF_TEXT = "<|endoftext|>"  # mark between documents in data for GPT-2 and many models after it
ESCAPES = {r"\n": "\n", r"\t": "\t"}  # of a separator, since a shell can hardly pass a line end


def check_separator(separator: str) -> str:
    """Return the text that a separator stands for, its `ESCAPES` resolved; ValueError for one without any character."""
    for written, character in ESCAPES.items():
        separator = separator.replace(written, character)
    if not separator:
        raise ValueError(r"separator: a text between documents is needed, such as <|endoftext|> or \n---\n")
    return separator


def mark(text: str, separator: str = END_OF_TEXT) -> tuple[str, int]:
    """Write END_OF_TEXT for a separator.

    Args:
        text: with LF as line ends.
        separator: text between documents, as `check_separator` returns it.

    Returns:
        The text, and its number of marks, those that were there included.
    """
    # One mark after the other, as a separator such as `o` is in END_OF_TEXT
    text = END_OF_TEXT.join(part.replace(separator, END_OF_TEXT) for part in text.split(END_OF_TEXT))
    return text, text.count(END_OF_TEXT)


def separate(text: str) -> list[str]:
    """Return the documents between marks; those of white space alone are left out, and one at least is returned.

    A mark on a line of its own goes with its line end.
    """
    first, *others = text.split(END_OF_TEXT)
    if not others:
        return [text]
    documents, at_line_start = [first], not first or first.endswith("\n")
    for document in others:
        documents.append(document.removeprefix("\n") if at_line_start else document)
        at_line_start = document.endswith("\n")
    return [document for document in documents if document.strip()] or [""]


def unmarked(text: str) -> str:
    """Return a text with line ends instead of marks."""
    return text.replace(END_OF_TEXT, "\n")
