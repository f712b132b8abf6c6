"""Texts of any encoding and with any line ends are read; a byte that is wrong costs a character."""

from __future__ import annotations

import codecs
import io

import pytest

from helicon.formats import text_files
from helicon.formats.text_files import check_encoding, decode_text, estimate, open_text, read_text

WORDS = "Où est le café ? L'été, à la plage – naïve…\n"
ENDS = "line ends CR LF or CR, read as LF"
BAD = "characters that are not UTF-8, read as U+FFFD"


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_become_lf_and_are_counted(end):
    text, report = decode_text(f"one{end}two{end}{end}".encode())
    assert (text, report.counts) == ("one\ntwo\n\n", {ENDS: 3})
    assert decode_text(b"one\ntwo\n")[1].counts == {}


@pytest.mark.parametrize(
    ("codec", "mark", "words"),
    [
        ("utf-8", codecs.BOM_UTF8, ""),
        ("utf-16-le", codecs.BOM_UTF16_LE, "in UTF-16"),
        ("utf-16-be", codecs.BOM_UTF16_BE, "in UTF-16"),
        ("utf-32-le", codecs.BOM_UTF32_LE, "in UTF-32"),
        ("utf-32-be", codecs.BOM_UTF32_BE, "in UTF-32"),
        ("utf-16-le", b"", "in UTF-16 without its mark"),
        ("utf-16-be", b"", "in UTF-16 without its mark"),
    ],
)
def test_unicode_is_known_by_its_mark_or_its_zeros(tmp_path, codec, mark, words):
    (tmp_path / "a.txt").write_bytes(mark + WORDS.encode(codec))
    for named in ("auto", "cp1252") if mark else ("auto",):
        text, report = read_text(tmp_path / "a.txt", named)
        assert (text, report.counts) == (WORDS, {f"files {words}": 1} if words else {})
    file, detected = open_text(tmp_path / "a.txt")
    with file:
        assert (file.read(), detected.words) == (WORDS, words)


@pytest.mark.parametrize(
    ("codec", "words"),
    [
        ("cp1252", WORDS),
        ("gb18030", "今天天气很好，我们一起去公园散步吧！\n"),
        ("cp1251", "Мороз и солнце, день чудесный! Ещё ты дремлешь, друг прелестный.\n"),
        ("cp932", "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n"),
    ],
)
@pytest.mark.parametrize("times", [1, 200])
def test_other_encodings_are_estimated_and_named(codec, words, times):
    text, report = decode_text((words * times).encode(codec))
    assert (text, report.counts) == (words * times, {f"files estimated to be in {codec}": 1})


def test_the_encoding_that_is_named_holds_for_what_is_not_utf8():
    assert decode_text(WORDS.encode(), "cp1251")[0] == WORDS
    text, report = decode_text("день".encode("koi8_r"), "koi8_r")
    assert (text, report.counts) == ("день", {"files in koi8_r": 1})
    text, report = decode_text(b"a\x81", "cp1252")
    assert (text, report.counts) == ("a\ufffd", {"files in cp1252": 1, BAD.replace("UTF-8", "cp1252"): 1})


def test_a_bad_byte_costs_a_character():
    data = (WORDS * 200).encode()
    text, report = decode_text(data[:4000] + b"\xff" + data[4000:])
    assert (text.replace("\ufffd", ""), report.counts) == (WORDS * 200, {BAD: 1})
    there = "\ufffd was there\n".encode()
    assert decode_text(there + data)[1].counts == {}
    assert decode_text(there + data[:-4] + b"\xe2\x80")[1].counts == {BAD: 1}  # cut within a letter


def test_what_is_no_text_is_refused_and_nul_is_text():
    assert decode_text(b"a\0b") == ("a\0b", text_files.ReadReport())
    for data in (b"\xff\0\x81 no text", bytes(range(256)) * 8):
        with pytest.raises(ValueError, match=r"^no text: neither UTF-8 nor another .*; --data\.encoding names one$"):
            decode_text(data)
    assert estimate(b"") == ""


def test_names_of_encodings():
    for name in ("auto", "cp1252", "UTF-16-LE", "gbk"):
        assert check_encoding(name) == name
    for name in ("", "cp9999", "rot13", "base64", "undefined", "a\0"):
        with pytest.raises(ValueError, match=r"^encoding '.*': auto, or one that Python has, such as cp1252, [^\n]*$"):
            check_encoding(name)


def test_long_files_are_looked_at_in_parts(monkeypatch):
    monkeypatch.setattr(text_files, "BLOCK", 7)
    assert text_files.detect(io.BytesIO(WORDS.encode())).codec == "utf-8"
    assert text_files.detect(io.BytesIO(("x" * 50 + WORDS).encode("cp1252"))).codec == "cp1252"
