"""A quantizer and networks of one's own in a codec: trained, opened, used by a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_plugin_commands import TINY, example, fresh, refusal

from helicon.cli import main
from helicon.formats.image import write_image
from helicon.pages.codec_page import next_steps
from helicon.plugins.loading import load_plugins
from helicon.plugins.plugin import PluginError
from helicon.training.runs.folders import read_config
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.config import AudioNetConfig, ImageCodecConfig
from helicon.vqvae.storage import CodecError, load_codec

CODEC = (
    "--model.width=16", "--model.blocks=0", "--model.codes=16", "--data.size=16", "--data.batch_size=4",
    "--trainer.accelerator=cpu", "--trainer.max_steps=3", "--trainer.val_check_interval=3",
)  # fmt: skip
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def pictures(home) -> str:
    rng = np.random.default_rng(0)
    for number in range(6):
        write_image(rng.integers(0, 256, (16, 16, 3)).astype(np.uint8), home / "pictures" / f"{number}.png")
    return "pictures"


def test_a_quantizer_of_a_plugin_goes_all_the_way(pictures, home, capsys, monkeypatch):
    plugin = example(home, "own_quantizer")
    named = ["--plugin", plugin]
    fit = ["fit", "--config=image-codec", f"--data.path={pictures}", "--name=codec", "--samples=false"]
    assert "unknown quantizer 'lfq'; nearest: fsq" in refusal(capsys, *fit, *CODEC, "--model.quantizer=lfq")
    assert main([*fit, *CODEC, "--model.quantizer=lfq", *named]) == 0
    assert read_config(Path("runs/codec"))["plugins"][0].startswith(f"{plugin}#sha256=")
    model = ["fit", "--config=image", f"--data.path={pictures}", "--name=model", "--data.tokenizer=runs/codec", *TINY]
    model.remove("--model.context=32")
    fresh()
    needs = "needs the plugin own_quantizer.py"
    assert f"runs/codec/model/codec.json: {needs}" in refusal(capsys, "reconstruct", "runs/codec", "pictures/1.png")
    assert needs in refusal(capsys, *model)
    assert main(["reconstruct", "runs/codec", "pictures/1.png", *named]) == 0
    assert main([*model, *named]) == 0
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")
    fresh()
    assert f"runs/model/model/bundle.json: {needs}" in refusal(capsys, "generate", f"{home}/runs/model")
    assert "own_quantizer" in refusal(capsys, "train", "--resume", f"{home}/runs/codec", "--trainer.max_steps=4")
    assert main(["generate", f"{home}/runs/model", *named]) == 0
    assert main(["info", f"{home}/runs/codec", *named]) == 0


def test_signs_are_the_digits_of_a_code(home):
    load_plugins([example(home, "own_quantizer")])
    assert all(command.endswith(f" --plugin {home}/own_quantizer.py") for command in next_steps("image", "RUN", "DIR"))
    quantizer = ImageCodec(ImageCodecConfig(quantizer="lfq", codes=8, width=8)).quantizer
    z_BDx = torch.tensor([[0.3, -2, 0.1], [-1, -1, 5]])[..., None, None]
    assert quantizer.encode(z_BDx).flatten().tolist() == [5, 4]
    assert torch.equal(quantizer.decode(quantizer.encode(z_BDx)), z_BDx.sign())
    assert torch.equal(quantizer(z_BDx).latents, z_BDx.sign())


def test_networks_of_a_plugin(pictures, home, capsys):
    plugin = example(home, "own_codec_net")
    fit = ["fit", "--config=image-codec", f"--data.path={pictures}", "--name=codec", "--model.quantizer=fsq"]
    assert main([*fit, *CODEC, "--samples=false", "--model.net=patches", "--plugin", plugin]) == 0
    codec = load_codec(Path("runs/codec")).codec
    media = torch.rand(1, 3, 16, 16) * 2 - 1
    changed = media.clone()
    changed[..., :4, :4] *= -1
    assert (codec.encode(media) != codec.encode(changed)).sum() <= 1  # each square by itself
    (recorded,) = json.loads(Path("runs/codec/model/codec.json").read_text())["plugins"]
    fresh()
    with pytest.raises(CodecError, match=f"needs the plugin own_codec_net.py .*{recorded[-64:][:12]}"):
        load_codec(Path("runs/codec"))
    with pytest.raises(ValueError, match="unknown codec net of pictures 'patches'; known: conv"):
        ImageCodecConfig(net="patches")
    with pytest.raises(ValueError, match="unknown codec net of sound 'patches'; known: conv"):
        AudioNetConfig(net="patches")


WRONG_QUANTIZER = """
import helicon
@helicon.register_quantizer("wrong")
class Wrong(helicon.Quantizer):
    def __init__(self, config, learning):
        {init}
    def encode(self, z):
        return {encode}
    def decode(self, codes):
        return {decode}
    def forward(self, z):
        codes = (z > 0).long()[:, 0]
        return {forward}
"""
QUANTIZER = {
    "init": "super().__init__(8, 3, 3)", "encode": "(z > 0).long()[:, 0]",
    "decode": "codes[:, None].expand(-1, 3, *codes.shape[1:])", "forward": "helicon.Quantized(z, codes, 0 * z.mean())",
}  # fmt: skip
KEY = "{}['k']"
CODES = (
    ("init", KEY, r"KeyError: 'k' \(line 6\)$"),
    ("init", "pass", "AttributeError: 'Wrong' object has no attribute 'codebook_size'$"),
    ("init", "super().__init__(0, 3, 3)", "codebook_size, inputs and outputs 0, 3, 3; whole numbers from 1"),
    ("forward", KEY, r"KeyError: 'k' \(line 13\)$"),
    ("forward", "None", r"forward gives NoneType; a helicon\.Quantized is needed$"),
    ("forward", "helicon.Quantized(None, codes, 0)", r"latents NoneType: \[2, 3, 4, 4\] is needed$"),
    ("forward", "helicon.Quantized(z[:, :1], codes, 0)", r"latents \[2, 1, 4, 4\]: \[2, 3, 4, 4\] is needed$"),
    ("forward", "helicon.Quantized(z, codes[0], 0)", r"codes \[4, 4\]: \[2, 4, 4\] is needed$"),
    ("forward", "helicon.Quantized(z, codes.float(), 0)", r"codes of torch\.float32; torch\.int64 is needed$"),
    ("forward", "helicon.Quantized(z, codes * 0 + 9, 0)", "codes from 9 to 9; it has 0 to 7$"),
    ("forward", "helicon.Quantized(z, codes, z * z)", r"its loss \[2, 3, 4, 4\]: \[\] is needed$"),
    ("encode", KEY, r"KeyError: 'k' \(line 8\)$"),
    ("encode", "(z > 0).long()[:, 0] * 0 + 8", "codes from 8 to 8; it has 0 to 7$"),
    ("decode", KEY, r"KeyError: 'k' \(line 10\)$"),
    ("decode", "codes", r"decode gives \[2, 4, 4\]: \[2, 3, 4, 4\] is needed$"),
)


@pytest.mark.parametrize(("part", "body", "said"), CODES)
def test_a_quantizer_that_fails(home, part, body, said):
    (home / "wrong.py").write_text(WRONG_QUANTIZER.format(**{**QUANTIZER, part: body}))
    load_plugins(["wrong.py"])
    with pytest.raises(PluginError, match=rf"^quantizer 'wrong' \(.*wrong\.py, line 3\): {said}"):
        through(ImageCodec(ImageCodecConfig(quantizer="wrong", width=8)))


NETS = (
    (KEY, r"KeyError: 'k' \(line 5\)$"),
    ("None", r"it makes NoneType; helicon\.Nets are needed$"),
    ("helicon.Nets(nn.Identity(), 3)", "it makes a int; modules of PyTorch are needed$"),
    ("helicon.Nets(Fails(), Fails())", r"KeyError: 'k' \(line 9\)$"),
    ("helicon.Nets(nn.Conv2d(3, 5, 4, 4), 0)", r"it makes a int"),
    (
        "helicon.Nets(nn.Conv2d(3, 5, 4, 4), nn.Identity())",
        r"its encoder gives \[2, 5, 4, 4\]: \[2, 3, 4, 4\] is needed$",
    ),
    ("helicon.Nets(nn.AvgPool2d(4), nn.Identity())", r"its decoder gives \[2, 3, 4, 4\]: \[2, 3, 16, 16\] is needed$"),
)


@pytest.mark.parametrize(("made", "said"), NETS)
def test_networks_that_fail(home, made, said):
    (home / "wrong.py").write_text(
        "import helicon\nfrom torch import nn\n@helicon.register_codec_net('image', 'wrong')\n"
        f"def wrong(config, sizes):\n    return {made}\n\n"
        f"class Fails(nn.Module):\n    def forward(self, x):\n        return {KEY}\n"
    )
    load_plugins(["wrong.py"])
    with pytest.raises(PluginError, match=rf"^codec net of pictures 'wrong' \(.*wrong\.py, line 3\): {said}"):
        through(ImageCodec(ImageCodecConfig(net="wrong", quantizer="fsq", width=8)))


def through(codec: ImageCodec) -> None:
    """As in training, and as codes are made and used."""
    media = torch.zeros(2, 3, 16, 16)
    codec(media)
    codec.decode(codec.encode(media))
