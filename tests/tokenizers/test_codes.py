"""Codes of a codec as tokens: with one that can be followed by hand, and with a real one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from helicon.formats.image import read_image
from helicon.modalities import registry
from helicon.modalities.image import codes_tokenizer
from helicon.tokenizers import codes as module
from helicon.tokenizers.codec import tokenizer_weights
from helicon.tokenizers.codes import CodesTokenizer
from helicon.tokenizers.pixels import pixels_to_tensor, stacked
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.config import ImageCodecConfig
from helicon.vqvae.storage import CodecBundle


class Greys:
    """One of 11 greys, 0, 25, 50 ... 250, for each 2 x 2 pixels: the nearest to their mean."""

    codebook_size = 11

    def __init__(self) -> None:
        self.taken: list[int] = []

    def encode(self, media: Tensor) -> Tensor:
        self.taken.append(len(media))
        levels = (media.float().mean(1, keepdim=True) + 1) * 127.5
        return (torch.nn.functional.avg_pool2d(levels, 2)[:, 0] / 25).round().long()

    def decode(self, codes: Tensor) -> Tensor:
        self.taken.append(len(codes))
        levels = codes.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None] * 25.0
        return (levels / 127.5 - 1).expand(-1, 3, -1, -1)


CONFIG = {"fingerprint": "0123456789abcdef", "config": {"factor": 2, "quantizer": "greys"}}


def greys(size: int = 6) -> CodesTokenizer:
    return CodesTokenizer(Greys(), size, 2, CONFIG, {})


def picture_of(codes: list[list[int]]) -> np.ndarray:
    """The picture that these rows of codes stand for."""
    tiles = np.array(codes, np.uint8).repeat(2, 0).repeat(2, 1) * 25
    return tiles[..., None].repeat(3, -1)


def test_a_picture_is_its_codes_row_by_row():
    rows = [[0, 1, 2], [10, 9, 8], [3, 3, 4]]
    ids = greys().encode(picture_of(rows))
    assert ids.tolist() == [0, 1, 2, 10, 9, 8, 3, 3, 4]
    assert ids.dtype == np.int64
    assert np.array_equal(greys().decode(ids), picture_of(rows))
    assert greys().encode(picture_of(rows)[:4]).tolist() == [0, 1, 2, 10, 9, 8]  # its first rows


@pytest.mark.parametrize(
    ("ids", "rows"),
    [([7], [[7, 0, 0]]), ([7, 8, 9], [[7, 8, 9]]), ([7, 8, 9, 1], [[7, 8, 9], [1, 0, 0]]), ([5] * 12, [[5] * 3] * 4)],
)
def test_any_number_of_codes_is_a_picture(ids, rows):
    made = greys().decode(np.array(ids))
    assert made.dtype == np.uint8
    assert np.array_equal(made, picture_of(rows))


def test_no_codes_are_a_picture_without_rows():
    assert greys().decode(np.zeros(0, np.int64)).shape == (0, 6, 3)


@pytest.mark.parametrize("wrong", [-1, 11])
def test_codes_that_there_are_not_are_refused(wrong):
    with pytest.raises(ValueError, match=r"ids must be 0 \.\. 10"):
        greys().decode(np.array([0, wrong]))


@pytest.mark.parametrize("shape", [(6, 4, 3), (6, 8, 3), (5, 6, 3), (8, 6, 3)])
def test_pictures_of_another_size_are_refused(shape):
    message = rf"{shape[0]} rows of {shape[1]} pixels: 6 columns and a multiple of 2 rows up to 6 are accepted"
    with pytest.raises(ValueError, match=message):
        greys().encode(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("picture", [np.zeros((6, 6, 3)), np.zeros((6, 6), np.uint8), np.zeros((0, 6, 3), np.uint8)])
def test_what_is_no_picture_is_refused(picture):
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\] is accepted"):
        greys().encode(picture)


def test_a_size_that_codes_do_not_tile_is_refused():
    with pytest.raises(ValueError, match="pictures of 7 pixels are no multiple of the codec's 2"):
        greys(7)


def test_many_at_once_keep_their_order(monkeypatch):
    monkeypatch.setattr(module, "CPU_PIXELS", 3 * 6 * 6)
    rng = np.random.default_rng(0)
    heights = [3, 3, 1, 3, 3, 3, 3, 2, 2, 1, 3]
    grids = [rng.integers(11, size=(height, 3)).tolist() for height in heights]
    codec = Greys()
    tokenizer = CodesTokenizer(codec, 6, 2, CONFIG, {})
    ids = tokenizer.encode_many([picture_of(grid) for grid in grids])
    assert [found.tolist() for found in ids] == [np.ravel(grid).tolist() for grid in grids]
    assert codec.taken == [2, 1, 3, 1, 2, 1, 1]
    pictures = tokenizer.decode_many([*ids, np.zeros(0, np.int64), ids[0][:2]])
    for picture, grid in zip(pictures, grids):
        assert np.array_equal(picture, picture_of(grid))
    assert pictures[-2].shape == (0, 6, 3)
    assert np.array_equal(pictures[-1], picture_of([[*grids[0][0][:2], 0]]))
    assert tokenizer.encode_many([]) == tokenizer.decode_many([]) == []


def photographs(shared_data: Path, size: int, count: int = 30) -> list[np.ndarray]:
    files = sorted((shared_data / "images" / "grocery").rglob("*.png"))
    return [read_image(file, size)[0] for file in files[:: len(files) // count]]


@pytest.mark.parametrize("kind", ["ema", "fsq"])
def test_codes_of_real_pictures_do_not_depend_on_who_goes_with_them(shared_data, kind):
    torch.manual_seed(0)
    codec = ImageCodec(ImageCodecConfig(factor=4, width=32, blocks=1, quantizer=kind, codes=64, code_width=4)).eval()
    pictures = photographs(shared_data, 32)
    if kind == "ema":  # codes that are met
        latents = codec.encoder(pixels_to_tensor(stacked(pictures)))
        codec.quantizer.codebook.copy_(latents.permute(0, 2, 3, 1).flatten(0, 2)[::29][:64])  # type: ignore[attr-defined]
    tokenizer = codes_tokenizer(CodecBundle(codec=codec, medium="image", reading={"size": 32}))
    together, alone = tokenizer.encode_many(pictures), [tokenizer.encode(picture) for picture in pictures]
    assert len(np.unique(np.stack(alone))) > 20
    assert (np.stack(together) != np.stack(alone)).mean() < 1e-3
    made, one = tokenizer.decode_many(alone), [tokenizer.decode(ids) for ids in alone]
    assert np.abs(np.stack(made).astype(int) - np.stack(one)).max() <= 1  # of 255


def test_a_copy_on_another_device_has_the_same_state_and_codes():
    tokenizer = real()
    again, picture = tokenizer.to("cpu"), np.full((16, 16, 3), 99, np.uint8)
    assert again.codec is not tokenizer.codec
    assert (again.block, again.state()) == (tokenizer.block, tokenizer.state())
    assert np.array_equal(again.encode(picture), tokenizer.encode(picture))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_makes_the_same_pictures():
    tokenizer, rng = real(), np.random.default_rng(1)
    pictures = [rng.integers(256, size=(rows, 16, 3)).astype(np.uint8) for rows in (16, 16, 8)]
    moved = tokenizer.to("cuda")
    assert (moved.device.type, tokenizer.device.type) == ("cuda", "cpu")
    ids = tokenizer.encode_many(pictures)
    assert np.mean([(a != b).mean() for a, b in zip(moved.encode_many(pictures), ids)]) < 0.02
    for ours, theirs in zip(tokenizer.decode_many(ids), moved.decode_many(ids)):
        assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_what_it_tells_others():
    tokenizer = greys()
    assert tokenizer.block.name == "image"
    assert tokenizer.block.tokens[:2] == ("v00", "v01")
    assert tokenizer.block.tokens[-1] == "v10"
    assert (tokenizer.shape, tokenizer.read_options, tokenizer.automaton) == ((3, 3), {"size": 6}, None)
    assert tokenizer.units(np.zeros(9)) == {"pixel": 36.0, "dimension": 108.0}
    assert tokenizer.describe() == {"size": 6, "codec": "0123456789abcdef", "factor": 2, "quantizer": "greys"}
    assert tokenizer.state() == {"block": "image", "codec": CONFIG}


def real(seed: int = 0) -> CodesTokenizer:
    """Of an untrained codec of 16 codes, fewer once some are dropped."""
    torch.manual_seed(seed)
    codec = ImageCodec(ImageCodecConfig(factor=4, width=16, blocks=1, quantizer="fsq", levels=(4, 2, 2))).eval()
    codec.keep(torch.arange(16) != 3)
    return codes_tokenizer(CodecBundle(codec=codec, medium="image", reading={"size": 16}), "photo")


def test_state_and_weights_survive_the_registry():
    tokenizer, rng = real(), np.random.default_rng(0)
    pictures = [rng.integers(256, size=(rows, 16, 3)).astype(np.uint8) for rows in (16, 16, 8)]
    state, weights = json.loads(json.dumps(tokenizer.state())), tokenizer_weights(tokenizer)
    again = registry.restore_tokenizer("image", "codes", state, weights)
    assert (again.block, again.state()) == (tokenizer.block, tokenizer.state())
    assert (again.block.name, len(again.block)) == ("photo", 15)
    for picture in pictures:
        ids = tokenizer.encode(picture)
        assert np.array_equal(again.encode(picture), ids)
        assert np.array_equal(again.decode(ids), tokenizer.decode(ids))
        assert again.decode(ids).shape == picture.shape
    assert all(torch.equal(tensor, tokenizer_weights(again)[name]) for name, tensor in weights.items())


def test_weights_that_are_missing_or_another_codecs_are_refused():
    tokenizer, other = real(), real(seed=1)
    with pytest.raises(ValueError, match="the weights of the codec are missing"):
        registry.restore_tokenizer("image", "codes", tokenizer.state())
    ours, theirs = (each.describe()["codec"] for each in (tokenizer, other))
    with pytest.raises(ValueError, match=f"has the fingerprint {theirs}, {ours} was trained with"):
        registry.restore_tokenizer("image", "codes", tokenizer.state(), other.weights())


def test_a_codec_of_pictures_has_one_level():
    tokenizer = real()
    for level in (0, -1):
        again = tokenizer.at_level(level, "image")
        assert (again.block.name, again.block.tokens, again.codec) == ("image", tokenizer.block.tokens, tokenizer.codec)
    with pytest.raises(ValueError, match="level 1: a codec of pictures has one level"):
        tokenizer.at_level(1, "image")


def test_codes_are_trained_not_fitted():
    with pytest.raises(ValueError, match="codes need a codec: train one with `helicon train image-codec DIR`"):
        registry.spec("image", "codes").fit([])
