"""Sounds that PyAV decodes, where it is installed, and what is said where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helicon.formats import audio_av
from helicon.formats.audio import audio_info, read_audio, read_blocks
from helicon.formats.audio_kinds import REMEDIES, SUFFIXES
from helicon.formats.audio_limits import TRUNCATED, AudioError
from helicon.modalities.audio import AUDIO

KINDS = {  # suffix -> FFmpeg's muxer, codec and rate
    ".m4a": ("ipod", "aac", 16000), ".aac": ("adts", "aac", 16000), ".webm": ("webm", "libopus", 48000),
    ".mka": ("matroska", "pcm_s16le", 8000),
}  # fmt: skip


def write(path: Path, seconds: float = 2.0, layout: str = "mono") -> Path:
    """A tone of 440 Hz and half of full scale, of the kind that the suffix says."""
    av: Any = pytest.importorskip("av")
    muxer, codec, rate = KINDS[path.suffix]
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        samples = av.AudioFrame.from_ndarray(
            np.stack([tone] * (1 + (layout == "stereo"))), format="fltp", layout=layout
        )
        samples.sample_rate = rate
        fifo = av.AudioFifo()
        for frame in av.AudioResampler(format=stream.format, layout=layout, rate=rate).resample(samples):
            fifo.write(frame)
        while (frame := fifo.read(stream.frame_size or 960, partial=True)) is not None:
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_a_tone_is_read(tmp_path: Path, suffix: str, layout: str) -> None:
    path = write(tmp_path / f"a{suffix}", layout=layout)
    sound, report = read_audio(path, None, None)
    assert (sound.rate, sound.channels) == (KINDS[suffix][2], 1 + (layout == "stereo"))
    assert 2.0 <= sound.seconds < 2.2  # coders fill their first and last frame
    middle = sound.samples[sound.rate // 2 : sound.rate, 0]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / 2**0.5, rel=0.05)
    assert np.abs(np.fft.rfft(middle)).argmax() == 220  # of half a second
    assert audio_info(path) == (sound.rate, sound.channels, len(sound))
    assert TRUNCATED not in report.counts


@pytest.mark.parametrize("suffix", KINDS)
def test_blocks_are_the_samples_and_the_name_may_lie(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}").rename(tmp_path / "a.wav")
    whole, _ = read_audio(path, 8000)
    assert np.array_equal(np.concatenate([*read_blocks(path, 8000, seconds=0.3)]), whole.samples)
    assert AUDIO.read(path, options={"rate": 8000})[0].seconds == whole.seconds


@pytest.mark.parametrize("suffix", [".aac", ".mka"])
def test_a_file_that_is_cut_off_is_read_up_to_there(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    sound, report = read_audio(path, None)
    assert 1 < sound.seconds < 1.6
    assert report.counts[TRUNCATED] == 1


def test_what_is_no_sound_is_refused_in_a_line(tmp_path: Path) -> None:
    pytest.importorskip("av")
    for name, data in (("a.m4a", b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(40)), ("a.wma", b"\x30\x26\xb2\x75" + bytes(99)),
                       ("a.webm", b"\x1a\x45\xdf\xa3" + bytes(99)), ("a.aac", b"\xff\xf1" + bytes(99))):  # fmt: skip
        (tmp_path / name).write_bytes(data)
        with pytest.raises(AudioError, match=r"a broken .* file: |without sound|no sound in it") as error:
            read_audio(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("begin", "kind"),
    [(b"\0\0\0\x20ftypM4A ", "MPEG-4"), (b"\xff\xf1", "AAC"), (b"\x1a\x45\xdf\xa3", "Matroska or WebM"),
     (b"\x30\x26\xb2\x75", "Windows Media")],
)  # fmt: skip
def test_without_pyav_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: bytes, kind: str) -> None:
    monkeypatch.setattr(audio_av, "THERE", False)
    (tmp_path / "a.mp3").write_bytes(begin + bytes(99))
    with pytest.raises(AudioError, match=f"a {kind} file, which PyAV reads: pip install av"):
        read_audio(tmp_path / "a.mp3")


def test_a_suffix_is_read_or_has_a_remedy() -> None:
    assert not set(SUFFIXES) & set(REMEDIES)
    assert {*audio_av.SUFFIXES, ".mp4"} <= {*SUFFIXES, *REMEDIES}
    assert AUDIO.suffixes == SUFFIXES
    with pytest.raises(AudioError, match=r"suffix '.mov': .wav .* are accepted; convert to .flac or .wav"):
        read_audio("a.mov")
