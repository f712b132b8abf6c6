"""A codec on disk comes back to the bit, or one line says what is wrong with which file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import damage
import pytest
import torch
from safetensors.torch import load_file

from helicon.modalities.registry import all_modalities
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.config import ImageCodecConfig
from helicon.vqvae.quantizers import EMAQuantizer
from helicon.vqvae.storage import (
    CONFIG,
    FAMILIES,
    WEIGHTS,
    CodecBundle,
    CodecError,
    find_codec,
    inference_state_dict,
    load_codec,
    save_codec,
)

SHAPE = ImageCodecConfig(factor=4, width=16, blocks=1, codes=16, code_width=4, levels=(4, 2, 2))


def bundle(shape: ImageCodecConfig = SHAPE, seed: int = 0) -> CodecBundle:
    """Untrained; an ema codebook has begun."""
    torch.manual_seed(seed)
    codec = ImageCodec(shape)
    if isinstance(codec.quantizer, EMAQuantizer):
        while not codec.quantizer.started:
            codec.quantizer(torch.randn(40, 4, 4, 4))
    return CodecBundle(codec=codec.eval(), medium="image", reading={"size": 16}, notes={"step": 7})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_codec(bundle(), tmp_path / "run" / "model")
    return tmp_path / "run" / "model"


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("likelihood", ["l2", "logit-laplace"])
@pytest.mark.parametrize("quantizer", ["ema", "gumbel", "fsq"])
def test_a_codec_comes_back_to_the_bit(tmp_path, quantizer, likelihood, dropped):
    saved = bundle(replace(SHAPE, quantizer=quantizer, likelihood=likelihood))
    if dropped:
        saved.codec.keep(torch.arange(16) % 3 > 0)
    save_codec(saved, tmp_path / "run" / "model")
    media = torch.rand(3, 3, 16, 16) * 2 - 1
    codes = saved.codec.encode(media)
    for path in (tmp_path / "run", tmp_path / "run" / "model"):
        again = load_codec(path)
        assert (again.medium, again.reading, again.notes) == ("image", {"size": 16}, {"step": 7})
        assert (again.codec.config, again.codec.codebook_size) == (saved.codec.config, 10 if dropped else 16)
        assert not again.codec.training
        assert again.fingerprint() == saved.fingerprint()
        assert again.config() == saved.config()
        assert torch.equal(again.codec.encode(media), codes)
        assert torch.equal(again.codec.decode(codes), saved.codec.decode(codes))


def test_what_only_training_needs_is_not_stored(folder):
    names = load_file(folder / WEIGHTS).keys()
    buffers = {name for name in names if name.startswith("quantizer.")}
    assert buffers == {"quantizer.codebook", "quantizer.sizes"}
    assert {"kept", "renumbered"} < names
    assert names == inference_state_dict(bundle().codec).keys()


def test_the_fingerprint_is_of_what_codes_depend_on():
    codec = bundle()
    before = codec.fingerprint()
    codec.codec.quantizer.latent_buffer.add_(1)  # type: ignore[attr-defined]
    codec.notes["step"] = 8
    assert codec.fingerprint() == before
    next(codec.codec.decoder.parameters()).data.view(-1)[3] += 1e-6
    assert codec.fingerprint() != before


def test_the_weights_of_another_codec_are_refused(folder, tmp_path):
    other = bundle(seed=1)
    save_codec(other, tmp_path / "other")
    (tmp_path / "other" / WEIGHTS).replace(folder / WEIGHTS)
    with pytest.raises(CodecError) as caught:
        load_codec(folder)
    found, trained = other.fingerprint(), bundle().fingerprint()
    assert f"the codec has the fingerprint {found}, {trained} was trained with" in str(caught.value)
    assert str(folder / CONFIG) in str(caught.value)


weights, raw, config = partial(damage.tensors, WEIGHTS), partial(damage.raw, WEIGHTS), partial(damage.values, CONFIG)


def text(content: bytes):
    return damage.raw(CONFIG, lambda _: content)


MISFIT = "the weights of the codec are not those of its config"
DAMAGE = {
    "truncated": (raw(lambda data: data[:-100]), "truncated or changed"),
    "cut in the header": (raw(lambda data: data[:50]), "truncated"),
    "trailing bytes": (raw(lambda data: data + b"\0"), "truncated or changed"),
    "a changed byte": (raw(lambda data: data[:-1] + bytes([data[-1] ^ 1])), "has the fingerprint"),
    "no weights": (lambda folder: (folder / WEIGHTS).unlink(), f"{WEIGHTS}: missing"),
    "a missing tensor": (weights(lambda t: t.pop("kept")), MISFIT),
    "an unknown tensor": (weights(lambda t: t.update(x=torch.ones(1))), MISFIT),
    "another shape": (weights(lambda t: t.update(kept=torch.arange(17))), MISFIT),
    "another width": (config(lambda c: c["config"].update(width=24)), MISFIT),
    "a huge width": (config(lambda c: c["config"].update(width=1 << 14)), MISFIT),
    "another number of codes": (config(lambda c: c.update(codes=[15])), MISFIT),
    "another quantizer": (config(lambda c: c["config"].update(quantizer="fsq")), MISFIT),
    "an unknown quantizer": (
        config(lambda c: c["config"].update(quantizer="lfq")),
        "unknown quantizer 'lfq'; nearest",
    ),
    "an unknown likelihood": (config(lambda c: c["config"].update(likelihood="l3")), "'l3' is not one of l2"),
    "an impossible width": (config(lambda c: c["config"].update(width=12)), "width must be a multiple of 8"),
    "an unknown setting": (config(lambda c: c["config"].update(magic=1)), "config with 'magic'"),
    "no config": (config(lambda c: c.pop("config")), "KeyError('config')"),
    "read in another way": (config(lambda c: c.update(reading={"rate": 8})), "reading without size"),
    "a later format": (config(lambda c: c.update(format=99)), "format 99; this version of helicon reads 4"),
    "not JSON": (text(b"{"), "not a codec this version can read"),
    "not text": (text(b"\xff\xfe\x00"), "not a codec this version can read"),
    "deep JSON": (text(b"[" * 100_000), "not a codec this version can read"),
    "a list": (text(b"[]"), "not a codec this version can read"),
}


@pytest.mark.parametrize("harm", DAMAGE)
def test_damage_is_one_line_that_names_the_file(folder, harm):
    change, message = DAMAGE[harm]
    change(folder)
    with pytest.raises(CodecError) as caught:
        load_codec(folder)
    assert str(folder) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_codec(tmp_path):
    assert find_codec(tmp_path) is None
    with pytest.raises(CodecError, match=r"no codec \(codec.json, codec.safetensors\) there or in model/; .*train"):
        load_codec(tmp_path)


def test_a_codec_is_found_by_its_medium(folder):
    assert find_codec(folder.parent, "image") == find_codec(folder, "image") == folder
    assert find_codec(folder, "audio") is None
    (folder / CONFIG).write_text("{")
    assert find_codec(folder, "audio") == folder  # for `load_codec` to say what is wrong


@pytest.mark.parametrize("family", FAMILIES)
def test_codecs_are_read_as_their_medium_says(family):
    assert set(FAMILIES[family].reading) == set(all_modalities()[family].option_names)
