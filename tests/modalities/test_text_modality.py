"""Text files: exact, and cut into documents at line ends."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.modalities import text
from helicon.modalities.text import TEXT


def test_files_come_back_exactly(tmp_path):
    path = tmp_path / "a.txt"
    for content in ("", "one\n\ntwo\n", "🎵 שלום\0"):
        TEXT.write(content, path)
        assert TEXT.read(path) == (content, {})


def test_a_byte_order_mark_is_left_out(tmp_path):
    path = tmp_path / "a.md"
    path.write_bytes(b"\xef\xbb\xbfhello")
    assert TEXT.read(path)[0] == "hello"


def test_other_encodings_are_read_and_counted(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"caf\xe9\r\n")
    for named in ("cp1252", "latin-1"):
        counts = {f"files in {named}": 1, "line ends CR LF or CR, read as LF": 1}
        assert TEXT.read(path, options={"encoding": named}) == ("café\n", counts)
    with pytest.raises(ValueError, match=r"^encoding 'cp9999': auto, or one that Python has, such as cp1252"):
        TEXT.read(path, options={"encoding": "cp9999"})
    path.write_bytes(b"caf\xe9\0")
    with pytest.raises(ValueError, match=r"^no text: .*; --data\.encoding names one$"):
        TEXT.read(path)


def test_documents_end_at_line_ends():
    line = "x" * 1000 + "\n"
    parts = TEXT.documents(line * 40)
    assert [len(part) for part in parts] == [16 * 1001, 16 * 1001, 8 * 1001]
    assert TEXT.documents("") == []


@given(st.text(alphabet="a\n🎵é", max_size=200))
@settings(max_examples=60, deadline=None)
def test_documents_join_to_the_whole(content):
    before, text.DOCUMENT_BYTES = text.DOCUMENT_BYTES, 7
    try:
        parts = TEXT.documents(content)
    finally:
        text.DOCUMENT_BYTES = before
    assert "".join(parts) == content
    assert all(0 < len(part.encode()) <= 7 for part in parts)


def test_marks_part_documents_and_are_not_learned(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\r\n<|endoftext|>\r\ntwo\r\n%%\r\nthree")
    content, counts = TEXT.read(path, options={"separator": r"%%\n"})
    assert counts == {"line ends CR LF or CR, read as LF": 4, "marks between documents": 2}
    assert TEXT.documents(content) == TEXT.separate(content) == ["one\n", "two\n", "three"]
    assert TEXT.survey(content) == "one\n\ntwo\n\nthree"
    assert TEXT.paired(content) == "one two three"


def test_a_text_is_divided_at_a_mark_if_one_is_near():
    parts = ["a" * 90, "b" * 10, "c" * 20]
    content = "<|endoftext|>".join(parts)
    for share in (0.8, 0.85, 0.87):
        assert TEXT.divide(content, share) == (content[:-20], parts[2])
    mark = content.index("<|endoftext|>")
    for at in range(mark + 1, mark + 14):
        assert TEXT.divide(content, at / len(content))[0] == content[: mark + 13]


def test_a_caption_is_text_and_fits_ignore_options_of_others():
    assert TEXT.from_text("a red apple") == "a red apple"
    assert TEXT.keep("a red apple", "0.5") == "a red "
    for wrong in ("8s", "1.5", "0", "half"):
        with pytest.raises(ValueError, match="a share between 0 and 1"):
            TEXT.keep("a red apple", wrong)
    tokenizer = TEXT.slots["text"]["bpe"].fit(["aa aa aa"], vocabulary=258, siblings={}, pedal="drop")
    assert tokenizer.decode(tokenizer.encode("aa é")) == "aa é"
    assert len(TEXT.slots["text"]["bytes"].fit([], vocabulary=9).block) == 256
    assert len(TEXT.slots["text"]["numbers"].fit(["3 4"], vocabulary=9).block) == 5
