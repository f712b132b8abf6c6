"""What pictures are to the rest: read, shown, kept in part, and the tokenizers that a run of a codec is."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from image_bundles import image_bundle, picture
from PIL import Image

from helicon.bundle.storage import save_bundle
from helicon.cli import main
from helicon.formats.image import read_image, write_image
from helicon.modalities import registry
from helicon.modalities.image import IMAGE, codes_tokenizer, keep
from helicon.tokenizers.codec import tokenizer_weights
from helicon.tokenizers.rgb import RgbTokenizer
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.config import ImageCodecConfig
from helicon.vqvae.storage import CodecBundle, save_codec

pytestmark = pytest.mark.usefixtures("one_thread")

PIXELS = np.random.default_rng(0).integers(256, size=(8, 8, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def codec() -> CodecBundle:
    torch.manual_seed(0)
    return CodecBundle(
        codec=ImageCodec(ImageCodecConfig(factor=4, width=8, blocks=0, quantizer="fsq", levels=(3, 3))).eval(),
        medium="image",
        reading={"size": 8},
    )


def test_it_is_registered():
    assert registry.get("image") is registry.for_slot("image")
    expected = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".webp", ".bmp", ".gif", ".tif", ".tiff")
    assert registry.get("image").suffixes[:10] == expected  # others as there are libraries
    assert list(registry.get("image").slots["image"]) == ["palette", "rgb", "codes"]
    assert registry.get("image").raw == "rgb"


def test_files_are_read_at_the_size_asked_for(tmp_path):
    Image.fromarray(PIXELS.repeat(8, 0).repeat(8, 1)).save(tmp_path / "a.png")
    default, counts = IMAGE.read(tmp_path / "a.png")
    assert (default.shape, counts) == ((32, 32, 3), {})
    small, _ = IMAGE.read(tmp_path / "a.png", "a label is nothing to it", {"size": 8, "pedal": "drop"})
    assert np.array_equal(small, read_image(tmp_path / "a.png", 8)[0])
    with pytest.raises(ValueError, match="image is not made from text"):
        IMAGE.from_text("a cat")


@pytest.mark.parametrize(("amount", "rows"), [("0.5", 4), ("1", 8), (".3", 2), ("0.01", 1)])
def test_the_top_rows_are_kept(amount, rows):
    assert np.array_equal(keep(PIXELS, amount), PIXELS[:rows])


@pytest.mark.parametrize("amount", ["8s", "0", "1.5", "-1", "half"])
def test_an_amount_is_a_share(amount):
    with pytest.raises(ValueError, match=rf"cannot keep '{amount}': a share between 0 and 1 is accepted"):
        keep(PIXELS, amount)


def test_a_preview_is_large_enough_to_be_seen(tmp_path):
    assert IMAGE.preview(PIXELS, tmp_path / "000.png") == [tmp_path / "000-large.png"]
    assert np.array_equal(read_image(tmp_path / "000-large.png")[0], PIXELS.repeat(32, 0).repeat(32, 1))
    assert IMAGE.preview(PIXELS[:0], tmp_path / "001.png") == []
    assert [path.name for path in tmp_path.iterdir()] == ["000-large.png"]


def test_a_sheet_shows_all_that_have_pixels(tmp_path):
    assert IMAGE.sheet([PIXELS, PIXELS[:0], PIXELS], tmp_path / "sheet.png") == tmp_path / "sheet.png"
    assert read_image(tmp_path / "sheet.png")[0].shape == (2 * 96 + 4, 96, 3)  # 8 pixels 12 times, and a gap
    assert IMAGE.sheet([PIXELS[:0]], tmp_path / "none.png") is None
    assert not (tmp_path / "none.png").exists()


def test_what_is_written_is_read_again(tmp_path):
    IMAGE.write(PIXELS, tmp_path / "a.png")
    assert np.array_equal(IMAGE.read(tmp_path / "a.png", options={"size": 8})[0], PIXELS)


def test_a_run_of_a_codec_is_a_tokenizer(codec, tmp_path):
    save_codec(codec, tmp_path / "run" / "model")
    for path in (tmp_path / "run", tmp_path / "run" / "model"):
        opened = registry.open_tokenizer("image", path)
        assert opened is not None
        name, tokenizer = opened
        assert (name, tokenizer.state()) == ("codes", codes_tokenizer(codec).state())
        assert np.array_equal(tokenizer.encode(PIXELS), codes_tokenizer(codec).encode(PIXELS))
    assert tokenizer.read_options == {"size": 8}
    assert registry.open_tokenizer("image", tmp_path) is None
    assert registry.open_tokenizer("text", tmp_path / "run") is None


def test_a_codecs_tokenizer_comes_back_from_its_state_and_weights(codec):
    tokenizer = codes_tokenizer(codec)
    state, weights = json.loads(json.dumps(tokenizer.state())), tokenizer_weights(tokenizer)
    again = registry.restore_tokenizer("image", "codes", state, weights)
    assert np.array_equal(again.decode(again.encode(PIXELS)), tokenizer.decode(tokenizer.encode(PIXELS)))
    with pytest.raises(ValueError, match="the weights of the codec are missing"):
        registry.restore_tokenizer("image", "codes", state)
    with pytest.raises(ValueError, match="its codes mean something else"):
        registry.restore_tokenizer("image", "codes", state, {name: tensor + 1 for name, tensor in weights.items()})


def test_a_codec_is_trained_and_not_fitted():
    with pytest.raises(ValueError, match="codes need a codec: train one with `helicon train image-codec DIR`"):
        registry.spec("image", "codes").fit([PIXELS])


def test_a_palette_and_bytes_are_fitted_with_their_options():
    palette = registry.spec("image", "palette").fit([IMAGE.survey(PIXELS)], size=8, colours=5, vocabulary=99)
    assert (len(palette.block), palette.read_options) == (5, {"size": 8})
    assert isinstance(registry.spec("image", "rgb").fit([], size=8), RgbTokenizer)


def test_tokens_of_a_picture_go_there_and_back(tmp_path, capsys):
    save_bundle(image_bundle("text[4] image[]"), tmp_path / "model")
    write_image(picture(3).repeat(9, 0).repeat(9, 1), tmp_path / "large.png")
    assert main(["tokenize", str(tmp_path / "large.png"), "--run", str(tmp_path / "model")]) == 0
    said = capsys.readouterr().out
    assert len(said.split()) == 16
    assert set(said.split()) <= {"c0", "c1", "c2", "c3"}
    (tmp_path / "tokens").write_text(said)
    again = str(tmp_path / "again.png")
    assert main(["detokenize", str(tmp_path / "tokens"), "--run", str(tmp_path / "model"), "-o", again]) == 0
    assert read_image(again)[0].shape == (4, 4, 3)
    assert main(["tokenize", again, "--run", str(tmp_path / "model")]) == 0
    assert capsys.readouterr().out == said
