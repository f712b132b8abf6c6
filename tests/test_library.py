"""The library does what the command does: docs/library.md pairs them, neither has an option that the other lacks."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from commands.tiny_bundles import text_bundle

import helicon
from helicon.bundle.storage import save_bundle
from helicon.cli import COMMANDS, main, parser
from helicon.formats.image import read_image, write_image
from helicon.vqvae.codec import Codec
from helicon.vqvae.config import ImageCodecConfig
from helicon.vqvae.storage import CodecBundle, save_codec

DOC = Path(__file__).resolve().parents[1] / "docs" / "library.md"
WITHOUT = {"demo"}  # commands that no function stands for
PRINTED = {"help", "out", "json", "stream", "top"}  # how results are shown or written
LOADED = {"device", "dtype", "plugins"}
# Options of the command by the names of parameters that are called otherwise
NAMES = {
    "train": {"path": "folder"}, "eval": {"path": "folder"}, "features": {"path": "folder"},
    "detokenize": {"file": "lines"}, "export": {"out": "folder"},
}  # fmt: skip
FIT = {"steps", "config", "options"}  # of `fit`, which a command line has after its own
STARTED = {"resume", "repeat"}  # options of train that are functions of their own


def pairs() -> list[tuple[str, str, str]]:
    """(command, the option that follows it, function) of each row."""
    rows = re.findall(r"^\| `helicon (\w+)(?: --(\w+))?[^|]*\| `helicon\.(\w+)\(", DOC.read_text(), re.MULTILINE)
    assert len(rows) > 8
    return rows


def test_every_command_has_its_function():
    assert {command for command, *_ in pairs()} == set(COMMANDS) - WITHOUT


@pytest.mark.parametrize(("command", "option", "function"), pairs())
def test_neither_has_an_option_that_the_other_lacks(command, option, function):
    options = {action.dest for action in parser(command)._actions}
    names = {"plugin": "plugins", **NAMES.get(command, {})}
    options = {names.get(name, name) for name in options} - PRINTED - STARTED
    parameters = set(inspect.signature(getattr(helicon, function)).parameters)
    if option in STARTED:
        options = {"run", "plugins", *({"minutes", "upsampler_of"} if option == "resume" else {"name", "runs"})}
    elif "plugins" not in parameters:
        assert LOADED & options <= set(inspect.signature(helicon.load).parameters)
        options -= LOADED
    assert parameters - FIT - {"given"} == options


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A text model that knows nothing, beside texts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    save_bundle(text_bundle(), tmp_path / "run")
    (tmp_path / "texts").mkdir()
    for name in "ab":
        (tmp_path / "texts" / f"{name}.txt").write_text("an ode " * ord(name))
    return helicon.load("run")


def test_what_is_evaluated_is_what_the_command_prints(model, capsys):
    found = helicon.evaluate(model, "texts")
    assert main(["eval", "run", "--data.path", "texts", "--json"]) == 0
    printed = capsys.readouterr().out
    assert f'"nats": {found.losses[0].nats}' in printed
    with pytest.raises(ValueError, match="--seed would have no effect"):
        helicon.evaluate(model, "texts", seed=3)


def test_features_are_those_of_the_file(model):
    found = helicon.features(model, "texts", layer=[0, 1])
    assert main(["features", "run", "texts", "--layer", "0,1"]) == 0
    with np.load("features.npz") as written:
        assert written["names"].tolist() == found.names == ["a.txt", "b.txt"]
        np.testing.assert_array_equal(written["features_1"], found.layers[1])
    assert list(helicon.features(model, "texts").layers) == [0, 1]
    with pytest.raises(ValueError, match="--layer 4: this model has 0"):
        helicon.features(model, "texts", layer=4)


def test_tokens_go_there_and_back(model, capsys):
    lines = helicon.tokenize(["texts/a.txt"], run=model, ids=True)
    assert main(["tokenize", "texts/a.txt", "--run", "run", "--ids"]) == 0
    assert capsys.readouterr().out == f"{lines[0]}\n"
    assert [item.media for item in helicon.detokenize(lines, run=model, ids=True)] == [Path("texts/a.txt").read_text()]
    with pytest.raises(ValueError, match=r"^line 2: 'x' is not a number"):
        helicon.detokenize([lines[0], "x"], run=model, ids=True)


def test_pictures_before_and_after(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_codec(CodecBundle(Codec(ImageCodecConfig(factor=4, width=8, blocks=0)), "image", {"size": 8}), Path("codec"))
    write_image(np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8), "a.png")
    (found,) = helicon.reconstruct("codec", ["a.png"])
    assert main(["reconstruct", "codec", "a.png"]) == 0
    np.testing.assert_array_equal(read_image(Path("out/000-a.png"), 8)[0], found.after)
    assert found.codes == 4
    with pytest.raises(ValueError, match="--level: a codec of pictures has one level"):
        helicon.reconstruct("codec", ["a.png"], level=1)


def test_what_is_in_a_model(model):
    helicon.save_model(model, "again")
    assert helicon.info("run")["layouts"] == helicon.info("again")["layouts"] == ["text"]
    assert helicon.info("again")["hash"] == model.hash()
    assert "helicon" in {finding.name for finding in helicon.doctor()}
    with pytest.raises(ValueError, match="a model in int8 cannot be written"):
        helicon.save_model(helicon.load("run", dtype="int8"), "int8")
    with pytest.raises(ValueError, match=r"again/config\.json: No such file"):
        helicon.import_model("again")
