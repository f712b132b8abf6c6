"""Lyrics beside sound: which file is taken, and what of it is kept."""

from __future__ import annotations

from helicon.data.files import scan
from helicon.modalities import registry
from helicon.modalities.lyrics import LYRICS
from helicon.tokenizers.lyrics import LyricsTokenizer


def test_it_is_registered():
    assert registry.get("lyrics") is LYRICS
    assert registry.for_slot("lyrics") is LYRICS
    assert registry.for_slot("text").name == "text"


def test_files_come_back_exactly(tmp_path):
    for content in ("", "[00:01.00]one\n", "🎵 שלום\n\n"):
        LYRICS.write(content, tmp_path / "a.lrc")
        assert LYRICS.read(tmp_path / "a.lrc") == (content, {})
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfone")
    assert LYRICS.read(tmp_path / "b.txt")[0] == "one"


def test_lyrics_of_any_encoding_are_read(tmp_path):
    words = "[00:01.00]café, s'il vous plaît\n[00:02.00]où êtes-vous\n"
    (tmp_path / "a.lrc").write_bytes(words.replace("\n", "\r\n").encode("cp1252"))
    ends = {"line ends CR LF or CR, read as LF": 2}
    assert LYRICS.read(tmp_path / "a.lrc") == (words, {"files estimated to be in cp1252": 1, **ends})
    named = {"encoding": "cp1251"}
    assert LYRICS.read(tmp_path / "a.lrc", options=named)[0].startswith("[00:01.00]cafй")


def test_lines_are_kept_beside_a_sound():
    assert LYRICS.paired("\n Sing,  goddess\r\n\r\nthe anger \n\n") == "Sing,  goddess\n\nthe anger"
    assert LYRICS.from_text("Sing\ngoddess") == "Sing\ngoddess"


def test_a_tokenizer_needs_no_fitting():
    tokenizer = registry.spec("lyrics", "lyrics").fit([], vocabulary=300, siblings={})
    assert isinstance(tokenizer, LyricsTokenizer)
    assert registry.restore_tokenizer("lyrics", "lyrics", tokenizer.state()).state() == tokenizer.state()


def test_of_two_files_of_a_song_the_one_with_times_is_used(tmp_path):
    for name in ("song.lrc", "song.txt", "song.wav", "other.TXT", "other.wav", "hummed.wav"):
        (tmp_path / name).write_bytes(b"")
    found = scan(tmp_path, [LYRICS, registry.get("audio")])
    assert [(entry.name, entry.files["lyrics"].name) for entry in found.entries] == [
        ("other", "other.TXT"), ("song", "song.lrc"),
    ]  # fmt: skip
    reasons = {name.rsplit("/", 1)[-1]: reason for name, reason in found.skipped.items()}
    assert reasons == {
        "song.txt": "the .lrc file of the same stem is used", "hummed.wav": "no lyrics file of the same stem",
    }  # fmt: skip
