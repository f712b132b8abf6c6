"""A quantizer and networks of one's own in a codec, and a tokenizer of one's own: trained, opened, used by a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_plugin_commands import TINY, example, fresh, refusal, texts

from helicon.cli import main
from helicon.formats.image import write_image
from helicon.pages.codec_page import next_steps
from helicon.plugins.loading import load_plugins
from helicon.training.runs.folders import read_config
from helicon.vqvae.codec import Codec
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
    quantizer = Codec(ImageCodecConfig(quantizer="lfq", codes=8, width=8)).quantizer
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


WRONG = {
    "latents": ("codes[..., None].movedim(-1, 1)", "codes", "0 * z.mean()", r"latents \[2, 1, 4, 4\]: \[2, 3, 4, 4\]"),
    "codes": ("z", "codes[0]", "0 * z.mean()", r"codes \[4, 4\]: \[2, 4, 4\]"),
    "loss": ("z", "codes", "z.square()", r"its loss \[2, 3, 4, 4\]: \[\]"),
}
WRONG_PLUGIN = """
import helicon
@helicon.register_quantizer("wrong")
class Wrong(helicon.Quantizer):
    def __init__(self, config, learning):
        super().__init__(8, 3, 3)
    def encode(self, z):
        return (z > 0).long()[:, 0]
    def decode(self, codes):
        return codes
    def forward(self, z):
        codes = self.encode(z)
        return helicon.Quantized({made})
"""


@pytest.mark.parametrize("what", WRONG)
def test_a_quantizer_that_gives_what_has_another_shape(home, what):
    *made, said = WRONG[what]
    (home / "wrong.py").write_text(WRONG_PLUGIN.format(made=", ".join(made)))
    load_plugins(["wrong.py"])
    with pytest.raises(ValueError, match=rf"^quantizer 'wrong' \(.*wrong\.py, line 3\): {said} is needed$"):
        Codec(ImageCodecConfig(quantizer="wrong", width=8))(torch.zeros(2, 3, 16, 16))


def test_a_tokenizer_of_a_plugin(home, capsys):
    plugin, path = example(home, "own_tokenizer"), str(texts(home))
    words = [f"--data.path={path}", "--data.layouts=[text]", "--data.tokenizer=characters"]
    assert main(["fit", *TINY, *words, "--name=text", "--plugin", plugin]) == 0
    fresh()
    assert "needs the plugin own_tokenizer.py" in refusal(capsys, "generate", "runs/text")
    assert main(["generate", "runs/text", "--tokens=4", "--plugin", plugin]) == 0
    assert set(Path("out/000.txt").read_text()) <= set("line 0123 of a short text\n\ufffd")
    assert main(["tokenize", f"{path}/1.txt", "--run", "runs/text", "--plugin", plugin]) == 0
