"""Sounds of any lengths through a codec at once, each as if it were alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_audio_codec import SHAPE, SHAPES, make, sound
from torch import Tensor

from helicon.formats.audio import read_audio
from helicon.vqvae import audio_codec, chunks
from helicon.vqvae.audio_codec import AudioCodec, AudioCodecLevel
from helicon.vqvae.chunks import Chunk, batch_by_length, split_item
from helicon.vqvae.config import AudioCodecConfig

pytestmark = pytest.mark.usefixtures("one_thread")

CODES = (40, 39, 17, 40, 1, 0, 38, 103, 250, 36)  # of ten sounds


@pytest.fixture(params=SHAPES)
def codec(request) -> AudioCodec:
    return make(SHAPES[request.param])


@pytest.fixture(params=[(1 << 20, 0.0), (1 << 20, 7 / 8), (1, 7 / 8)], ids=["any lengths", "like lengths", "alone"])
def room(request, monkeypatch) -> None:
    samples, like = request.param
    monkeypatch.setattr(audio_codec, "CPU_SAMPLES", samples)
    monkeypatch.setattr(chunks, "LIKE", like)
    monkeypatch.setattr(audio_codec, "CHUNK", 100)


def sounds(level: AudioCodecLevel, shape: AudioCodecConfig) -> list[Tensor]:
    """Some that end with a hop, and some within one."""
    return [sound(shape, max(0, codes * level.hop - i % 3 % level.hop)) for i, codes in enumerate(CODES)]


def test_an_item_is_seen_in_chunks_with_what_is_around_them():
    assert list(split_item(7, 10, 4, 3)) == [(7, 0, 0, 4, 7), (7, 1, 4, 8, 10), (7, 5, 8, 10, 10)]
    assert list(split_item(7, 4, 4, 3)) == [(7, 0, 0, 4, 4)]
    assert list(split_item(7, 0, 4, 3)) == []


def test_those_of_like_length_go_together():
    parts = [Chunk(i, 0, 0, codes, codes) for i, codes in enumerate([80, 8, 79, 200, 70, 7, 69, 8])]

    def lengths(max_codes: int) -> list[list[int]]:
        return [[part.codes for part in batch] for batch in batch_by_length(parts, max_codes)]

    assert lengths(230) == [[200], [80, 79], [70, 69], [8, 8, 7]]
    assert lengths(16) == [[200], [80], [79], [70], [69], [8, 8], [7]]


@pytest.mark.usefixtures("room")
def test_many_give_what_each_gives_alone(codec):
    for level in codec.levels:
        given = sounds(level, codec.config)
        made = level.encode_many(given)
        alone = [level.encode_long(each) for each in given]
        assert [len(codes) for codes in made] == list(CODES)
        assert different(made, alone) == 0
        heard = level.decode_many(alone)
        for one, codes in zip(heard, alone, strict=True):
            torch.testing.assert_close(one, level.decode_long(codes), rtol=0, atol=1e-5)


def test_padding_would_be_heard():
    level = make(SHAPE).level(1)
    given = sound(SHAPE, 300)
    padded = torch.nn.functional.pad(given, (0, 340))[None]
    codes = 300 // 16 + 1
    assert not torch.equal(level.encode(padded)[0, :codes], level.encode(given[None])[0])
    assert torch.equal(level.encode(padded, [codes])[0, :codes], level.encode(given[None])[0])


def test_they_come_back_in_order_whatever_their_lengths(monkeypatch):
    monkeypatch.setattr(audio_codec, "CPU_SAMPLES", 2000)
    seen: list[list[int]] = []
    level = make(SHAPE).level(0)
    plain = level.encode

    def watched(batch: Tensor, codes: list[int] | None = None) -> Tensor:
        seen.append(codes or [batch.shape[-1] // level.hop] * len(batch))
        return plain(batch, codes)

    monkeypatch.setattr(level, "encode", watched)
    made = level.encode_many([sound(SHAPE, 4 * codes) for codes in (5, 100, 5, 98, 100)])
    assert [len(codes) for codes in made] == [5, 100, 5, 98, 100]
    assert seen == [[100, 100, 98], [5, 5]]


def test_codes_of_real_sounds_do_not_depend_on_who_goes_with_them(shared_data: Path, monkeypatch):
    monkeypatch.setattr(audio_codec, "CPU_SAMPLES", 1 << 17)
    files = sorted((shared_data / "audio" / "spoken_digits").rglob("*.wav"))[::15]
    given = [torch.from_numpy(read_audio(file, 8000)[0].samples.T.copy()) for file in files]
    for level in make(replace(SHAPE, width=32, depth=4)).levels:
        assert isinstance(level, AudioCodecLevel)
        made, alone = level.encode_many(given), [level.encode_long(each) for each in given]
        total = sum(map(len, alone))
        assert total > 1000
        assert different(made, alone) <= total / 10_000


def different(some: list[Tensor], others: list[Tensor]) -> int:
    """How many codes differ."""
    return sum(int((a != b).sum()) for a, b in zip(some, others, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_codes_and_sounds_back_to_where_they_came_from():
    level = make(SHAPE).level(1)
    given = sounds(level, SHAPE)
    alone = [level.encode_long(each) for each in given]
    heard = [level.decode_long(codes) for codes in alone]
    level.cuda()
    made = level.encode_many(given)
    assert {codes.device.type for codes in made} == {"cpu"}
    assert different(made, alone) <= 0.02 * sum(CODES)  # convolutions may be of TF32 there
    for one, other in zip(level.decode_many(alone), heard, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-2)
