"""Codecs of sound: lengths, what a code depends on, and that chunks of any size give what the whole gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from helicon.vqvae import audio_codec
from helicon.vqvae.audio_codec import AudioCodec, AudioCodecLevel
from helicon.vqvae.audio_nets import AudioResBlock, receptive_field, strides
from helicon.vqvae.config import AudioCodecConfig
from helicon.vqvae.storage import CodecBundle, load_codec, save_codec

SHAPE = AudioCodecConfig(hops=(4, 16), rate=8000, channels=1, width=8, depth=2, codes=32, code_width=4)
SHAPES = {
    "two levels": SHAPE,
    "Jukebox's strides": replace(SHAPE, hops=(8,), stride=2),
    "a hop of 3 and 5": replace(SHAPE, hops=(15,), stride=5),
    "stereo": replace(SHAPE, hops=(4,), channels=2),
    "no blocks": replace(SHAPE, hops=(2,), depth=0),
    "fsq": replace(SHAPE, hops=(16,), quantizer="fsq", levels=(4, 4)),
    "gumbel": replace(SHAPE, hops=(16,), quantizer="gumbel"),
}


def make(shape: AudioCodecConfig, seed: int = 0) -> AudioCodec:
    """A codec whose blocks do something and whose codes are met; sounds are scaled down."""
    torch.manual_seed(seed)
    codec = AudioCodec(shape)
    for block in (module for module in codec.modules() if isinstance(module, AudioResBlock)):
        torch.nn.init.normal_(block.conv_2.weight, std=0.3)
    for level in codec.levels:
        assert isinstance(level, AudioCodecLevel)
        level.scale.fill_(0.5)
        if shape.quantizer == "ema":
            latents = level.encoder(torch.randn(1, shape.channels, 1, 64 * level.hop))[0, :, 0].T
            level.quantizer.codebook.copy_(latents[torch.randperm(64)[: shape.codes]])  # type: ignore[attr-defined]
            level.quantizer.sizes.fill_(1)  # type: ignore[attr-defined]
    return codec.eval()


def sound(shape: AudioCodecConfig, samples: int) -> Tensor:
    """[C, S], loud and soft."""
    torch.manual_seed(samples)
    return torch.randn(shape.channels, samples) * torch.linspace(0.1, 0.6, samples)


@pytest.fixture(params=SHAPES)
def codec(request) -> AudioCodec:
    return make(SHAPES[request.param])


def test_a_code_for_every_hop_that_has_begun(codec):
    for level in codec.levels:
        for samples in (1, level.hop - 1, level.hop, level.hop + 1, 5 * level.hop + 2):
            x = sound(codec.config, samples)
            codes = level.encode(x[None])
            assert (codes.dtype, codes.shape) == (torch.int64, (1, -(-samples // level.hop)))
            assert 0 <= int(codes.min()) <= int(codes.max()) < level.codebook_size
            made = level.decode(codes)
            assert made.shape == (1, codec.config.channels, codes.shape[1] * level.hop)
            assert float(made.abs().max()) <= 1


@pytest.mark.parametrize("chunk", [7, 64])
def test_chunks_give_what_the_whole_gives(codec, chunk, monkeypatch):
    monkeypatch.setattr(audio_codec, "CHUNK", chunk)
    for level in codec.levels:
        for samples in (1, chunk * level.hop, chunk * level.hop + 1, 300 * level.hop + 3, 2 * chunk * level.hop):
            x = sound(codec.config, samples)
            whole = level.encode(x[None])[0]
            assert torch.equal(level.encode_long(x), whole)
            for block in (1 + level.hop // 2, 5 * level.hop, 10_000):  # however they come
                assert torch.equal(torch.cat(list(level.encode_stream(x.split(block, -1)))), whole)
            made = level.decode(whole[None])[0]
            torch.testing.assert_close(level.decode_long(whole), made, rtol=0, atol=1e-6)
            streamed = torch.cat(list(level.decode_stream(whole.split(3))), -1)
            assert torch.equal(streamed, level.decode_long(whole))


def test_no_sound_has_no_codes(codec):
    for level in codec.levels:
        assert level.encode_long(sound(codec.config, 0)).shape == (0,)
        assert level.decode_long(torch.zeros(0, dtype=torch.int64)).shape == (codec.config.channels, 0)


def test_chunks_are_all_that_is_in_memory(monkeypatch):
    seen: list[int] = []
    codec = make(SHAPE)
    level = codec.level(-1)
    plain = level.encode

    def watched(x: Tensor) -> Tensor:
        seen.append(x.shape[-1])
        return plain(x)

    monkeypatch.setattr(audio_codec, "CHUNK", 32)
    monkeypatch.setattr(level, "encode", watched)
    level.encode_long(sound(SHAPE, 10_000))
    assert max(seen) <= (32 + 2 * level.receptive_field) * level.hop
    assert len(seen) == -(-10_000 // (32 * level.hop))


@pytest.mark.parametrize(("hop", "stride"), [(2, 2), (8, 2), (16, 4), (128, 4), (15, 5)])
@pytest.mark.parametrize("depth", [0, 3])
def test_nothing_depends_on_what_is_out_of_reach(hop, stride, depth):
    codec = make(replace(SHAPE, hops=(hop,), stride=stride, depth=depth))
    level, halo = codec.level(0), receptive_field(strides(hop, stride), depth, 3)
    places = 2 * halo + 9
    x = torch.randn(1, 1, 1, places * hop, requires_grad=True)
    level.encoder(x)[0, :, 0, halo + 4].sum().backward()
    touched = x.grad[0, 0, 0].nonzero().flatten() // hop  # type: ignore[index]
    assert int(touched.min()) >= 4
    assert int(touched.max()) <= 2 * halo + 4
    z = torch.randn(1, 4, 1, places, requires_grad=True)
    level.decoder(z)[0, :, 0, (halo + 4) * hop : (halo + 5) * hop].sum().backward()
    touched = z.grad[0, :, 0].abs().sum(0).nonzero().flatten()  # type: ignore[index]
    assert int(touched.min()) >= 4
    assert int(touched.max()) <= 2 * halo + 4


def test_items_of_a_batch_do_not_mix():
    level = make(SHAPE).level(0)
    x = torch.stack([sound(SHAPE, 400), sound(SHAPE, 400).flip(-1)])
    assert torch.equal(level.encode(x)[1], level.encode(x[1:])[0])


def test_it_learns_through_the_bottleneck():
    codec = make(SHAPE)
    level = codec.level(0).train()
    heard = level(sound(SHAPE, 800)[None])
    (heard.sound.square().mean() + heard.loss).backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in level.encoder.parameters())


def test_steps_multiply_to_the_hop():
    assert strides(128, 4) == [4, 4, 4, 2]
    assert strides(8, 2) == [2, 2, 2]
    assert strides(15, 5) == [5, 3]
    assert strides(12, 4) == [4, 3]


@pytest.mark.parametrize("kind", ["two levels", "fsq", "stereo"])
def test_it_comes_back_from_disk_to_the_bit(kind, tmp_path):
    codec = make(SHAPES[kind])
    codec.level(0).keep(torch.arange(codec.level(0).codebook_size) % 3 > 0)
    saved = CodecBundle(
        codec=codec, medium="audio", reading={"rate": 8000, "channels": codec.config.channels}, notes={"step": 3}
    )
    save_codec(saved, tmp_path)
    again = load_codec(tmp_path)
    assert (again.medium, again.reading, again.notes) == ("audio", saved.reading, {"step": 3})
    assert again.config() == saved.config()
    assert isinstance(again.codec, AudioCodec)
    assert again.codec.config == codec.config
    x = sound(codec.config, 500)
    for mine, theirs in zip(codec.levels, again.codec.levels):
        codes = mine.encode(x[None])  # type: ignore[operator]
        assert torch.equal(theirs.encode(x[None]), codes)  # type: ignore[operator]
        assert torch.equal(theirs.decode(codes), mine.decode(codes))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"hops": ()}, "hops: one or more are needed"),
        ({"hops": (16, 8)}, "hops must rise, each a multiple of the one before, got [16, 8]"),
        ({"hops": (8, 12)}, "hops must rise"),
        ({"hops": (14,)}, "a hop must be a product of 2, 3 and 5 above 1, got 14"),
        ({"hops": (1,)}, "hops 1: a whole number from 2 to"),
        ({"width": 0}, "width 0: a whole number from 1 to"),
        ({"codes": 1}, "codes 1: a whole number from 2 to"),
        ({"quantizer": "lfq"}, "unknown quantizer 'lfq'; nearest: fsq"),
    ],
)
def test_shapes_that_cannot_be(wrong, said):
    with pytest.raises(ValueError, match=r"\S") as caught:
        replace(SHAPE, **wrong)
    assert said in str(caught.value)


def test_a_level_that_is_not_there():
    with pytest.raises(ValueError, match="level 2: this codec has 2, 0 is the finest"):
        make(SHAPE).level(2)
    assert make(SHAPE).level(-1).hop == 16
