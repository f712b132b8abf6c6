"""Sound files read whole and in blocks, their samples written out; and written."""

import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soxr
from sounds import ALAW, FLOAT, MULAW, PCM, chirp, encoded, read, small_files, wav

from helicon.formats import audio as audio_module
from helicon.formats.audio import (
    Sound,
    audio_info,
    common_rate,
    read_audio,
    read_blocks,
    write_audio,
    write_blocks,
)
from helicon.formats.audio_samples import QUIET
from helicon.formats.read_report import ReadReport


def test_a_wav_file_of_four_samples(tmp_path: Path) -> None:
    file = bytes.fromhex(
        "52494646 2C000000 57415645"  # RIFF, 44 bytes follow, WAVE
        "666D7420 10000000 0100 0100 401F0000 803E0000 0200 1000"  # PCM, mono, 8000 Hz, 16000 bytes a second, 16 bits
        "64617461 08000000 0000 0100 FF7F 0080"  # 8 bytes: 0, 1, 32767, -32768
    )
    assert read(tmp_path, file) == ([[0.0], [1 / 32768], [32767 / 32768], [-1.0]], 8000, {})


@pytest.mark.parametrize(
    ("bits", "tag", "data", "expected"),
    [
        (8, PCM, bytes([0, 64, 128, 255]), [-1, -0.5, 0, 127 / 128]),
        (16, PCM, struct.pack("<3h", -32768, 1, 16384), [-1, 2**-15, 0.5]),
        (24, PCM, bytes.fromhex("000080 010000 000040"), [-1, 2**-23, 0.5]),
        (32, PCM, struct.pack("<3l", -(2**31), 2**8, 2**30), [-1, 2**-23, 0.5]),
        (32, FLOAT, struct.pack("<3f", -1, 2**-30, 0.5), [-1, 2**-30, 0.5]),
        (64, FLOAT, struct.pack("<3d", -1, 2**-30, 0.5), [-1, 2**-30, 0.5]),
        (8, MULAW, bytes([0x00, 0x80, 0xFF, 0xFE]), [-32124 / 32768, 32124 / 32768, 0, 8 / 32768]),
        (8, ALAW, bytes([0x2A, 0xAA, 0xD5, 0x55]), [-32256 / 32768, 32256 / 32768, 8 / 32768, -8 / 32768]),
    ],
)
def test_samples_of_every_width(tmp_path: Path, bits: int, tag: int, data: bytes, expected: list[float]) -> None:
    file = wav(data, bits=bits, tag=tag)
    assert read(tmp_path, file) == ([[x] for x in expected], 8000, {})


@pytest.mark.parametrize(
    ("name", "error"),
    [(name, 1e-4) for name in ("pcm16.wav", "pcm24.wav", "float.wav", "double.wav", "extensible.wav", "rf64.wav")]
    + [(name, 1e-4) for name in ("a.flac", "a.aiff", "a.au", "a.caf", "alac.caf", "a.w64")]
    + [("pcm8.wav", 0.02), ("mulaw.wav", 0.02), ("adpcm.wav", 0.1), ("vorbis.ogg", 0.1), ("opus.opus", 0.1)]
    + [("a.mp3", 0.1)],
)
def test_every_kind_of_file_holds_the_sound(tmp_path: Path, name: str, error: float) -> None:
    samples, rate, counts = read(tmp_path, small_files()[name], name, channels=None)
    heard = np.array(samples)
    assert (rate, counts) == (8000, {})
    expected = chirp(4000, 2)[: len(heard)]
    assert len(heard) == {"adpcm.wav": 4040}.get(name, 300 if len(heard) < 4000 else 4000)  # ADPCM has whole blocks
    assert np.std(heard[: len(expected)] - expected) < error * np.std(expected)


@pytest.mark.parametrize("name", ["a.flac", "vorbis.ogg", "a.mp3", "a.aiff", "a.au", "a.w64"])
def test_a_suffix_may_be_of_another_kind_of_sound(tmp_path: Path, name: str) -> None:
    data = small_files()[name]
    assert read(tmp_path, data, "a.wav") == read(tmp_path, data, name)
    assert read(tmp_path, small_files()["pcm16.wav"], name) == read(tmp_path, small_files()["pcm16.wav"])


def test_channels_are_mixed_doubled_or_kept(tmp_path: Path) -> None:
    stereo = wav(struct.pack("<4h", 16384, -16384, 8192, 0), channels=2)
    mono = wav(struct.pack("<2h", 16384, 8192))
    assert read(tmp_path, stereo) == ([[0.0], [0.125]], 8000, {"sounds of more than 1 channel (mixed)": 1})
    assert read(tmp_path, stereo, channels=2) == ([[0.5, -0.5], [0.25, 0.0]], 8000, {})
    assert read(tmp_path, stereo, channels=None) == ([[0.5, -0.5], [0.25, 0.0]], 8000, {})
    assert read(tmp_path, wav(struct.pack("<2h", 8192, 8192), channels=2)) == ([[0.25]], 8000, {})  # nothing is lost
    assert read(tmp_path, mono, channels=2) == ([[0.5, 0.5], [0.25, 0.25]], 8000, {})


@pytest.mark.parametrize(
    ("format", "rear_left", "bass"), [("WAV", 4, 3), ("FLAC", 4, 3), ("OGG", 3, 5)]
)  # fmt: skip
def test_six_channels(tmp_path: Path, format: str, rear_left: int, bass: int) -> None:
    """Rear left is heard on the left alone, at .293 of its loudness; the bass is heard in mono only."""
    tone = chirp(8000)[:, 0] * 0.9
    for channel, (left, right, mono) in ((rear_left, (0.293, 0, 1 / 6)), (bass, (0, 0, 1 / 6))):
        six = np.zeros((8000, 6), np.float32)
        six[:, channel] = np.cumsum(tone) / 20  # low enough for a bass channel
        data = encoded(six, format)
        heard = [
            np.std(np.array(read(tmp_path, data, channels=n)[0]), axis=0) / np.std(six[:, channel]) for n in (2, 1)
        ]
        np.testing.assert_allclose(np.concatenate(heard), [left, right, mono], atol=0.02)


def test_counts_of_what_was_changed(tmp_path: Path) -> None:
    file = wav(struct.pack("<6f", np.nan, np.inf, -np.inf, 1.5, -7, 0.25), bits=32, tag=FLOAT)
    counts = {"samples not finite (made 0)": 3, "samples beyond full scale (clipped)": 2}
    assert read(tmp_path, file) == ([[0.0], [0.0], [0.0], [1.0], [-1.0], [0.25]], 8000, counts)


def test_silence_and_one_sample_are_sounds(tmp_path: Path) -> None:
    assert read(tmp_path, wav(bytes(200))) == ([[0.0]] * 100, 8000, {QUIET: 1})
    assert read(tmp_path, wav(struct.pack("<2h", 300, -300)))[2] == {QUIET: 1}
    assert read(tmp_path, wav(struct.pack("<2h", 300, -400)))[2] == {}
    assert read(tmp_path, wav(struct.pack("<h", 16384))) == ([[0.5]], 8000, {})
    for rate in (100, 16000, 768_000):
        samples, _, _ = read(tmp_path, wav(struct.pack("<h", 16384), rate=44100), rate=rate)
        assert len(samples) == max(1, round(rate / 44100))


@pytest.mark.parametrize(("own", "rate"), [(17990, 8000), (44100, 8000), (8000, 44100), (48000, 44100)])
def test_another_rate_is_the_same_tone(tmp_path: Path, own: int, rate: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(own) / own)
    samples, given, counts = read(tmp_path, encoded(tone, "WAV", "FLOAT", own), rate=rate)
    is_told = rate == 8000  # no less than people hear is left at 44,100
    assert (len(samples), given) == (rate, rate)
    assert counts == ({"sounds of more than 8,000 Hz (resampled)": 1} if is_told else {})
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    inner = slice(rate // 20, -rate // 20)
    np.testing.assert_allclose(np.array(samples)[inner, 0], expected[inner], atol=1e-4)


@pytest.mark.parametrize(("rate", "channels"), [(None, None), (22050, 2), (8000, 1), (17990, 1)])
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_blocks_joined_are_the_whole(tmp_path: Path, name: str, rate: int | None, channels: int | None) -> None:
    formats = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3"}
    (tmp_path / name).write_bytes(encoded(chirp(300_007, 2, 44100), formats[Path(name).suffix], rate=44100))
    whole = read_audio(tmp_path / name, rate, channels)[0]
    for seconds in (0.3, 2.0, 100.0):
        blocks = list(read_blocks(tmp_path / name, rate, channels, seconds))
        assert {len(block) for block in blocks[:-1]} <= {round(seconds * whole.rate)}
        assert 0 < len(blocks[-1]) <= round(seconds * whole.rate)
        np.testing.assert_array_equal(np.concatenate(blocks), whole.samples)


@pytest.mark.parametrize(("own", "rate"), [(44100, 8000), (17990, 22051), (8000, 44100)])
def test_the_whole_is_what_soxr_makes_of_all_samples_at_once(tmp_path: Path, own: int, rate: int) -> None:
    sound = chirp(300_007, 1, own)
    (tmp_path / "a.wav").write_bytes(encoded(sound, "WAV", "FLOAT", own))
    expected = soxr.resample(sound, own, rate).clip(-1, 1)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", rate)[0].samples, expected)


def test_blocks_are_counted_too(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(encoded(np.full((20, 2), 1.5), "WAV", "FLOAT"))
    report = ReadReport({"of another file": 1})
    assert len(list(read_blocks(tmp_path / "a.wav", seconds=2 / 8000, report=report))) == 10
    assert report.counts == {"of another file": 1, "samples beyond full scale (clipped)": 40}


def test_what_is_too_long_to_be_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.flac").write_bytes(encoded(chirp(40_000), "FLAC"))
    monkeypatch.setattr(audio_module, "LONGEST_S", 5.0)
    assert read_audio(tmp_path / "a.flac")[0].seconds == 5
    monkeypatch.setattr(audio_module, "LONGEST_S", 4.5)
    with pytest.raises(ValueError, match=r"^too long to be read whole: up to 0\.1 minutes at 8,000 Hz are accepted$"):
        read_audio(tmp_path / "a.flac")
    assert sum(map(len, read_blocks(tmp_path / "a.flac"))) == 40_000
    monkeypatch.setattr(audio_module, "LONGEST_S", 5.0)
    monkeypatch.setattr(audio_module, "MAX_BYTES", 4 * 30_000)
    with pytest.raises(ValueError, match="too long"):
        read_audio(tmp_path / "a.flac")
    assert len(read_audio(tmp_path / "a.flac", 6000)[0]) == 30_000
    # One that does not say how long it is: the count of samples, 36 bits, is 0
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    (tmp_path / "b.flac").write_bytes(data)
    with pytest.raises(ValueError, match="too long"):
        read_audio(tmp_path / "b.flac")
    assert len(read_audio(tmp_path / "b.flac", 6000)[0]) == 30_000
    assert audio_info(tmp_path / "b.flac") == (8000, 1, 40_000)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"rate": 0}, "0 samples a second: 100 to 768,000 are accepted"),
        ({"rate": 10**6}, "1,000,000 samples a second"),
        ({"channels": 0}, "0 channels: 1, 2 or None, for as many as there are, are accepted"),
        ({"channels": 3}, "3 channels"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, int], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}"):
        read(tmp_path, wav(bytes(200)), **options)
    with pytest.raises(ValueError, match="1 sample or more"):
        next(read_blocks(tmp_path / "a.wav", seconds=0))


def test_what_headers_say(tmp_path: Path) -> None:
    rates = {"a.wav": 8000, "b.wav": 44100, "c.wav": 44100, "d.wav": 8000, "e.wav": 22050}
    for name, rate in rates.items():
        (tmp_path / name).write_bytes(wav(bytes(400), rate=rate, channels=2))
    (tmp_path / "f.wav").write_bytes(b"no sound")
    paths = [*sorted(tmp_path.iterdir()), tmp_path / "not there.wav"]
    assert audio_info(paths[0]) == (8000, 2, 100)
    assert common_rate(paths) == 44100
    assert common_rate(paths[:2] + paths[3:4]) == 8000
    with pytest.raises(ValueError, match=r"^no sound file that can be read: \.wav \.flac \.ogg \.mp3 .* are accepted$"):
        common_rate(paths[-2:])


def test_many_threads_read_the_same(tmp_path: Path) -> None:
    for name, data in small_files().items():
        (tmp_path / name).write_bytes(data)
    paths = sorted(tmp_path.iterdir()) * 5
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: read_audio(path, 22050)[0].samples, paths))
    for path, samples in zip(paths, together):
        np.testing.assert_array_equal(samples, read_audio(path, 22050)[0].samples)


def test_a_written_file_byte_for_byte(tmp_path: Path) -> None:
    write_audio(Sound(np.array([[0, 0.5], [-1, 1], [2, -2]], np.float32), 8000), tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes().hex(" ", 4).upper().replace(" ", "") == (
        "52494646" "30000000" "57415645"
        "666D7420" "10000000" "0100" "0200" "401F0000" "007D0000" "0400" "1000"
        "64617461" "0C000000" "0000" "0040" "0080" "FF7F" "FF7F" "0080"
    )  # fmt: skip


def test_samples_of_16_bits_come_out_as_they_went_in(tmp_path: Path) -> None:
    every = np.arange(-32768, 32768, dtype="<i2")
    (tmp_path / "a.wav").write_bytes(wav(every.tobytes()))
    sound = read_audio(tmp_path / "a.wav")[0]
    write_audio(sound, tmp_path / "b.wav")
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()


@pytest.mark.parametrize("n", [0, 1, 4000, 960_000])
def test_a_file_is_as_long_as_the_sound(tmp_path: Path, n: int) -> None:
    write_audio(Sound(np.zeros((n, 1), np.float32), 8000), tmp_path / "a.wav")
    assert (tmp_path / "a.wav").stat().st_size == 44 + 2 * n


def test_blocks_are_written_as_they_come(tmp_path: Path) -> None:
    sound = chirp(5000, 2)
    write_blocks(tmp_path / "a.wav", (sound[i : i + 700] for i in range(0, 5000, 700)), 8000, 2)
    write_audio(Sound(sound, 8000), tmp_path / "b.wav")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_nothing_is_written_over_by_what_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield np.zeros((5, 1), np.float32)
        raise OSError("the disk is full")

    write_audio(Sound(np.ones((3, 1), np.float32), 8000), tmp_path / "a.wav")
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(OSError, match="full"):
        write_blocks(tmp_path / "a.wav", broken(), 8000, 1)
    for block, reason in (
        (np.full((5, 1), np.nan, np.float32), "NaN or infinite"),
        (np.zeros((5, 2), np.float32), r"samples of shape \(5, 2\): \[samples, 1\] is accepted"),
        (np.zeros(5, np.float32), r"samples of shape \(5,\)"),
    ):
        with pytest.raises(ValueError, match=reason):
            write_blocks(tmp_path / "a.wav", [block], 8000, 1)
    monkeypatch.setattr(audio_module, "MAX_WAV_BYTES", 16000)
    with pytest.raises(ValueError, match=r"^more than 1 s, which a WAV file can hold$"):
        write_blocks(tmp_path / "a.wav", [np.zeros((5000, 1), np.float32)] * 2, 8000, 1)
    with pytest.raises(ValueError, match=r"^suffix '\.mp3': sound is written as \.wav$"):
        write_audio(Sound(np.zeros((1, 1), np.float32), 8000), tmp_path / "a.mp3")
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == before


def test_an_hour_of_sound_takes_no_memory(tmp_path: Path) -> None:
    """Written, read, resampled and written again in blocks; 288 MB if it were held as samples at 20 kHz."""
    pytest.importorskip("resource")
    code = """
import numpy as np, resource, sys
from helicon.formats.audio import audio_info, read_blocks, write_blocks
block = np.random.default_rng(0).uniform(-1, 1, (80_000, 1)).astype(np.float32)
write_blocks(sys.argv[1], [block], 8000, 1)
write_blocks(sys.argv[2], read_blocks(sys.argv[1], 20_000), 20_000, 1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_blocks(sys.argv[1], (block for _ in range(360)), 8000, 1)
write_blocks(sys.argv[2], read_blocks(sys.argv[1], 20_000), 20_000, 1)
print(*audio_info(sys.argv[2]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    rate, channels, frames, grown = map(int, done.stdout.split())
    assert (rate, channels, frames) == (20_000, 1, 72_000_000)
    assert grown < (20_000 if sys.platform == "linux" else 20_000_000)  # KiB; bytes on macOS


def test_real_sounds(shared_data: Path) -> None:
    lines = (shared_data / "audio_metadata.csv").read_text(encoding="utf-8").splitlines()[1::7]
    for line in lines:
        name, *_ = line.split(",")
        said = re.search(r"(\d+) Hz (\d) ch \d+ bit ([\d.]+) s", line)
        assert said
        sound, report = read_audio(shared_data / name, channels=None)
        assert (sound.rate, sound.channels) == (int(said[1]), int(said[2]))
        assert sound.seconds == pytest.approx(float(said[3]), abs=0.006)
        assert not any("broken" in what for what in report.counts)
    assert len(lines) > 50


def test_a_sound() -> None:
    sound = Sound(np.zeros((100, 2), np.float32), 50)
    assert (len(sound), sound.channels, sound.seconds, sound.nbytes) == (100, 2, 2.0, 800)
    assert (len(sound.cut(0.51)), len(sound.cut(9))) == (26, 100)
