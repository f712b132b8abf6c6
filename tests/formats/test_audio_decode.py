"""Which sound files are read, as far as they go, and which are refused; in bounded memory whatever they claim."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import FLOAT, chirp, encoded, read, small_files, wav

from helicon.formats import audio_decode
from helicon.formats.audio import AudioError, audio_info, read_audio, read_blocks
from helicon.formats.audio_decode import JUNK, LEFT_OVER, UNSTATED
from helicon.formats.audio_limits import MAX_CHANNELS, TRUNCATED

ACCEPTED = "WAV, FLAC, OGG, MP3, AIFF, AU, CAF, W64"  # and more where PyAV is installed


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (b"", "a.wav", "the file is empty"),
        (b"hello", "a.wav", f"not a sound file: {ACCEPTED}"),
        (bytes(1000), "a.mp3", f"not a sound file: {ACCEPTED}"),
        (b"samples without a header" * 100, "a.au", f"not a sound file: {ACCEPTED}"),  # mu-law to libsndfile, by name
        (wav(bytes(10)), "a.txt", "suffix '.txt': .wav .flac .ogg .mp3"),
        (wav(bytes(10)), "a", "suffix '': .wav .flac"),
        (b"MThd\0\0\0\6\0\1\0\1\1\xe0", "a.wav", f"a MIDI file: {ACCEPTED}"),
        (b"RIFF\x40\0\0\0AVI LIST" + bytes(50), "a.wav", f"a AVI file: {ACCEPTED}"),
        (b"<!DOCTYPE html><title>404 Not Found</title>", "a.wav", f"a web page file: {ACCEPTED}"),
        (b"ID3\3\0\0\0\0\0\x0a" + bytes(10) + small_files()["vorbis.ogg"], "a.mp3", "a broken MP3 file: no frame"),
        (b"ID3\3\0\0\0\0\0\x0a" + bytes(10) + encoded(chirp(99), "VOC"), "a.mp3", "a broken MP3 file: no frame"),
        (b"ID3\3\0\0\0\xff\xff\xff", "a.mp3", "a broken MP3 file: "),
        (wav(b""), "a.wav", "no sound in it"),
        (wav(b"") + b"LIST\4\0\0\0INFO", "a.wav", "no sound in it"),
        (wav(bytes(200))[:20], "a.wav", "a broken WAV file: "),
        (wav(bytes(200))[:44], "a.wav", "no sound in it"),
        (small_files()["a.flac"][:20], "a.flac", "a broken FLAC file: "),
        (small_files()["vorbis.ogg"][:60], "a.ogg", "a broken OGG file: "),
        (small_files()["a.caf"][:2000], "a.caf", "a broken CAF file: Supported file format but file is malformed"),
        (wav(bytes(200), channels=0), "a.wav", "a broken WAV file: Channel count is zero"),
        (wav(bytes(200), channels=60_000), "a.wav", "a broken WAV file: Too many channels specified"),
        (wav(bytes(2000), channels=1000), "a.wav", f"1,000 channels: 1 to {MAX_CHANNELS} are accepted"),
        (wav(bytes(200), rate=1), "a.wav", "1 samples a second: 100 to 768,000 are accepted"),
        (wav(bytes(200), rate=2_000_000_000), "a.wav", "2,000,000,000 samples a second: 100 to 768,000 are accepted"),
        (wav(bytes(200), rate=4_000_000_000), "a.wav", "a broken WAV file: "),
        (wav(bytes(200), bits=0), "a.wav", "a broken WAV file: "),
        (wav(bytes(200), bits=64), "a.wav", "a broken WAV file: "),
        (wav(bytes(200), tag=0x9999), "a.wav", "a broken WAV file: "),
        (wav(struct.pack("<2f", np.nan, -np.inf), bits=32, tag=FLOAT), "a.wav", "no sound in it: all of its samples"),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else None,  # an OGG has a random number in it
)  # fmt: skip
def test_refused_in_one_line_without_the_path(tmp_path: Path, data: bytes, name: str, reason: str) -> None:
    with pytest.raises(AudioError) as caught:
        read(tmp_path, data, name)
    assert str(caught.value).startswith(reason)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(AudioError) as again:
        list(read_blocks(tmp_path / name))
    assert str(again.value) == str(caught.value)


def test_missing_files_and_folders_are_what_python_says_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_audio(tmp_path / "not there.wav")
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(OSError, match=r"folder\.wav"):
        read_audio(tmp_path / "folder.wav")


def test_headers_may_claim_anything(tmp_path: Path) -> None:
    samples = [[1028 / 32768]] * 100
    data = b"\4\4" * 100
    for claim in (0, 0xFFFFFFFF, 0xFFFFFFF0, 0x7FFFF000):  # as programs write that do not know how much will come
        assert read(tmp_path, wav(data, claim=claim)) == (samples, 8000, {UNSTATED: 1})
    titled = wav(data, claim=0).replace(b"data", b"LIST\3\0\0\0abc\0data")  # chunks have an even number of bytes
    assert read(tmp_path, titled) == (samples, 8000, {UNSTATED: 1})
    assert read(tmp_path, encoded(chirp(4000), "RF64")[:-2000])[2] == {TRUNCATED: 1}
    assert read(tmp_path, wav(data, claim=1_000_000)) == (samples, 8000, {TRUNCATED: 1})
    assert read(tmp_path, wav(data, claim=150)) == (samples[:75], 8000, {})
    assert read(tmp_path, wav(data + b"\1")) == (samples, 8000, {})


@pytest.mark.parametrize(
    "name",
    ["pcm16.wav", "rf64.wav", "a.aiff", "a.au", "a.w64", "a.flac", "a.mp3", "vorbis.ogg", "opus.opus"],
)
def test_what_is_there_of_truncated_files_is_read(tmp_path: Path, name: str) -> None:
    data = longer_files()[name]
    whole, _, counts = read(tmp_path, data, name)
    assert counts == {}
    samples, _, counts = read(tmp_path, data[: len(data) * 6 // 10], name)
    assert counts == {TRUNCATED: 1}
    assert 0.4 * len(whole) < len(samples) < 0.62 * len(whole)
    sure = len(samples) - 2000  # the last frame of what is coded in overlapping ones lacks its neighbour
    np.testing.assert_allclose(np.array(samples)[:sure], np.array(whole)[:sure], atol=1e-6)


def longer_files() -> dict[str, bytes]:
    """name -> file of two seconds of mono."""
    kinds = {
        "pcm16.wav": ("WAV", None), "rf64.wav": ("RF64", None), "a.aiff": ("AIFF", None), "a.au": ("AU", None),
        "a.w64": ("W64", None), "a.flac": ("FLAC", None), "a.mp3": ("MP3", None), "vorbis.ogg": ("OGG", "VORBIS"),
        "opus.opus": ("OGG", "OPUS"),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    return {name: encoded(rng.uniform(-0.3, 0.3, 96_000), *kind, rate=48_000) for name, kind in kinds.items()}


def test_a_fault_in_the_middle_ends_the_sound_there(tmp_path: Path) -> None:
    data = bytearray(longer_files()["a.flac"])
    whole, _, _ = read(tmp_path, bytes(data), "a.flac")
    data[len(data) // 2 : len(data) // 2 + 4000] = bytes(4000)
    samples, _, counts = read(tmp_path, bytes(data), "a.flac")
    assert counts == {TRUNCATED: 1}
    assert 40_000 < len(samples) <= 96_000
    assert samples[:40_000] == whole[:40_000]


def test_a_flac_file_that_does_not_say_how_long_it_is(tmp_path: Path) -> None:
    data = bytearray(longer_files()["a.flac"])
    whole, _, _ = read(tmp_path, bytes(data), "a.flac")
    data[21] &= 0xF0  # the number of samples has 36 bits
    data[22:26] = bytes(4)
    assert read(tmp_path, bytes(data), "a.flac") == (whole, 48_000, {})
    assert audio_info(tmp_path / "a.flac") == (48_000, 1, 96_000)


def test_mp3_files_that_do_not_say_how_long_they_are(tmp_path: Path) -> None:
    """The first frame of LAME's files holds no sound but the number of frames; without it there is nothing to miss."""
    file = io.BytesIO()
    how = {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.5}
    soundfile.write(file, chirp(96_000, 1, 48_000), 48_000, **how)
    data = file.getvalue()
    assert b"Info" in data[:40]
    second = data.index(data[:2], 40)  # all frames begin with the same two bytes
    samples, rate, counts = read(tmp_path, data[second:], "a.mp3")
    assert (rate, counts) == (48_000, {})
    assert len(samples) == pytest.approx(96_000, abs=4000)
    assert audio_info(tmp_path / "a.mp3") == (48_000, 1, len(samples))
    no_count = data.index(b"Info") + 8
    assert read(tmp_path, data[:no_count] + bytes(4) + data[no_count + 4 :], "a.mp3") == (samples, rate, counts)
    assert read(tmp_path, data[second : second + 5000], "a.mp3")[2] == {TRUNCATED: 1}  # amid a frame
    titled = b"ID3\3\0\0\0\0\1\0" + bytes(128) + data  # a tag of titles before it changes nothing
    assert read(tmp_path, titled, "a.mp3") == read(tmp_path, data, "a.mp3")
    assert read(tmp_path, titled[: len(titled) // 2], "a.mp3")[2] == {TRUNCATED: 1}


def test_an_mp3_is_read_to_its_end_whatever_its_first_frame_has_libmpg123_think(tmp_path: Path) -> None:
    """Without the frame that says how many there are, the bit rate of the first, which is high, counts for all."""
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 132_300)
    data = encoded(noise, "MP3", rate=44_100)
    whole, _, _ = read(tmp_path, data, "a.mp3")
    untagged = data[data.index(data[:2], 40) :]
    samples, _, counts = read(tmp_path, untagged, "a.mp3")
    assert soundfile.info(tmp_path / "a.mp3").frames < 0.4 * len(whole)
    assert counts == {}
    delay = 1105  # samples of LAME and its decoders, which the tag says to leave out
    np.testing.assert_allclose(samples[delay + 3000 : delay + len(whole)], whole[3000:], atol=1e-4)


@pytest.mark.parametrize("before", [bytes(500), bytes(100_000), b"ID3\3\0\0\0\0\0\x0a" + bytes(3000)], ids=len)
def test_padding_before_an_mp3_is_passed_over(tmp_path: Path, before: bytes) -> None:
    data = small_files()["a.mp3"]
    samples, rate, _ = read(tmp_path, data, "a.mp3", channels=2)
    assert read(tmp_path, before + data, "a.mp3", channels=2) == (samples, rate, {JUNK: 1})


def test_tags_and_zeros_amid_an_mp3_are_passed_over(tmp_path: Path) -> None:
    data = longer_files()["a.mp3"]
    whole, _, _ = read(tmp_path, data, "a.mp3")
    half = len(data) // 2
    for between in (bytes(8000), b"ID3\3\0\0\0\0\x10\0" + bytes(2048)):
        samples, _, counts = read(tmp_path, data[:half] + between + data[half:], "a.mp3")
        assert counts == {JUNK: 1}
        assert len(samples) == pytest.approx(len(whole), abs=3000)
        assert samples[:30_000] == whole[:30_000]


def test_tags_before_an_mp3_are_few_and_not_too_large(tmp_path: Path) -> None:
    """libmpg123 goes through their parts one by one: eight million take seconds."""
    data = small_files()["a.mp3"]
    whole = read(tmp_path, data, "a.mp3")
    part = b"TXXX\0\0\0\2" + bytes(4)
    few, many = (b"ID3\3\0\0" + bytes(count >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(count)
                 for count in (1200, 8 << 20))  # fmt: skip
    few = few[:10] + part * 100
    assert read(tmp_path, few * 64 + data, "a.mp3") == whole
    for tags in (few * 65, many * 2):
        with pytest.raises(AudioError, match="more than 16,777,216 bytes, or 64, of ID3 tags"):
            read(tmp_path, tags + data, "a.mp3")


def test_of_joined_files_the_first_is_read_and_the_rest_is_told(tmp_path: Path) -> None:
    for name in ("vorbis.ogg", "a.mp3"):
        data = longer_files()[name]
        whole, rate, _ = read(tmp_path, data, name)
        assert read(tmp_path, data * (2 + 100_000 // len(data)), name) == (whole, rate, {LEFT_OVER: 1})


def test_libmpg123_is_not_heard(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = longer_files()["a.mp3"]
    read(tmp_path, data[: len(data) // 2], "a.mp3")
    with pytest.raises(AudioError):
        read(tmp_path, data[:4] + bytes(100_000), "a.mp3")
    os.write(2, b"standard error is as it was")
    assert capfd.readouterr().err == "standard error is as it was"


def flac_claiming(samples: int) -> bytes:
    """A FLAC file of a second whose header says that there are so many samples."""
    data = bytearray(encoded(chirp(8000), "FLAC"))
    fields = int.from_bytes(data[18:26]) >> 36 << 36 | samples
    data[18:26] = fields.to_bytes(8)
    return bytes(data)


FORGED = {
    "4 GiB of samples.wav": wav(bytes(2000), claim=0xFFFFFFF0),
    "2 GiB of samples.wav": wav(bytes(2000), claim=0x7FFFEFFF),
    "60,000 channels.wav": wav(bytes(2000), channels=60_000),
    "1,024 channels.wav": wav(bytes(4096), channels=1024),
    "2,000,000,000 Hz.wav": wav(bytes(2000), rate=2_000_000_000),
    "a list of 4 GiB.wav": wav(bytes(2000)).replace(b"data", b"LIST\xf0\xff\xff\xffdata"),
    "samples of 2 hours.flac": flac_claiming(2 * 3600 * 8000),
    "samples of years.flac": flac_claiming((1 << 36) - 1),
    "4 GiB.w64": small_files()["a.w64"].replace((1200).to_bytes(8, "little"), (1 << 32).to_bytes(8, "little")),
    "2 GiB.aiff": small_files()["a.aiff"].replace(b"SSND\0\0", b"SSND\x7f\xff"),
    "4 GiB.au": small_files()["a.au"][:8] + b"\xff\xff\xff\xfe" + small_files()["a.au"][12:],
    "a title of 256 MiB.mp3": b"ID3\3\0\0\x7f\x7f\x7f\x7f" + small_files()["a.mp3"],
    "a title of 4 GiB.ogg": small_files()["vorbis.ogg"].replace(b"\x03vorbis", b"\x03vorbis\xf0\xff\xff\xff"),
}


def test_claims_take_no_memory(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    for name, data in {"an honest file.wav": wav(bytes(2000)), **FORGED}.items():
        (tmp_path / name).write_bytes(data)
    code = """
import resource, sys
from helicon.formats.audio import read_audio
read_audio(sys.argv[1], 16000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[2:]:
    try:
        print(len(read_audio(path, 16000)[0]), path)
    except ValueError as error:
        print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    paths = [tmp_path / name for name in ("an honest file.wav", *FORGED)]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    *found, grown = done.stdout.splitlines()
    assert len(found) == len(FORGED)
    assert int(grown) < (20_000 if sys.platform == "linux" else 20_000_000)  # KiB; bytes on macOS


def outcome(path: Path) -> tuple[bytes, dict[str, int]] | None:
    """Samples and counts of a file, or None if it is refused."""
    try:
        sound, report = read_audio(path, channels=None)
    except AudioError:
        return None
    return sound.samples.tobytes(), report.counts


@pytest.mark.parametrize("name", small_files())
def test_libsndfile_may_read_a_file_itself_or_through_python(tmp_path, monkeypatch, name):
    whole, path = small_files()[name], tmp_path / name
    third = len(whole) // 3
    for data in (whole, whole[:-third], whole[:third], whole + b"?" * 300, whole[:third] + bytes(40) + whole[third:]):
        path.write_bytes(data)
        made = []
        for itself in (False, os.name == "posix"):
            monkeypatch.setattr(audio_decode, "DESCRIPTORS", itself)
            made.append(outcome(path))
        assert made[0] == made[1]
