"""Codes of a codec are the same whatever a process did before, and nothing of it is left changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.config import AudioCodecConfig, ImageCodecConfig
from helicon.vqvae.precision import BACKENDS, float32_settings_kept


def settings() -> tuple[object, ...]:
    """How float32 is multiplied now."""
    autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
    return (*(backend.fp32_precision for backend in BACKENDS), *autocast)


@contextmanager
def hurried(way: str) -> Iterator[None]:
    """A process that multiplies float32 in fewer bits."""
    with float32_settings_kept(), torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        if way == "backends":
            for backend in BACKENDS:
                backend.fp32_precision = "tf32"
        yield


def image_codec() -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    shape = ImageCodecConfig(factor=4, width=16, blocks=1, quantizer="fsq", levels=(8, 8, 8))
    return ImageCodec(shape).eval(), torch.rand(2, 3, 32, 32) * 2 - 1


def audio_codec() -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    shape = AudioCodecConfig(hops=(4,), rate=8000, channels=1, width=8, depth=1, quantizer="fsq", levels=(8, 8, 8))
    return AudioCodec(shape).level(0).eval(), torch.rand(2, 1, 256) * 2 - 1


@pytest.mark.parametrize("way", ["autocast", "backends"])
@pytest.mark.parametrize("make", [image_codec, audio_codec])
def test_codes_do_not_depend_on_what_the_process_did_before(make, way):
    codec, media = make()
    inside: list[tuple[object, ...]] = []
    for net in (codec.encoder, codec.decoder):
        net.register_forward_hook(lambda *_: inside.append(settings()))
    codes = codec.encode(media)
    decoded = codec.decode(codes)
    with hurried(way):
        before = settings()
        assert torch.equal(codec.encode(media), codes)
        assert torch.equal(codec.decode(codes), decoded)
        assert settings() == before
    assert len(inside) == 4
    assert {each[: len(BACKENDS)] for each in inside} == {("ieee",) * len(BACKENDS)}
    assert not any(each[-2] for each in inside)
