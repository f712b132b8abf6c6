"""The library does what the command does: docs/reference/api.md pairs them, and neither has an option more."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import warnings
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from commands.tiny_bundles import text_bundle
from pytorch_lightning import Callback

import helicon
from helicon.bundle.storage import save_bundle
from helicon.cli import main
from helicon.cli.commands import COMMANDS, LIGHTNING, parser
from helicon.formats.folder_lock import FolderLock
from helicon.formats.image import read_image, write_image
from helicon.training.parser import make_parser
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.config import ImageCodecConfig
from helicon.vqvae.storage import CodecBundle, save_codec

DOC = Path(__file__).resolve().parents[1] / "docs" / "reference" / "api.md"
PRINTED = {"help", "out", "json", "stream"}  # how results are shown or written
# Options of the command by the names of parameters that are called otherwise
NAMES = {
    "train": {"path": "folder"}, "eval": {"path": "folder"}, "features": {"path": "folder"},
    "detokenize": {"file": "lines"}, "export": {"out": "folder"}, "demo": {"out": "folder"},
}  # fmt: skip
STARTED = {  # options of train that are functions of their own, and the others that these take
    "resume": {"minutes", "upsampler_of", "plugins"}, "repeat": {"name", "runs", "plugins"},
}  # fmt: skip
ALONE = {
    "progress": "a command tells how it goes on stderr",
    "callbacks": "objects of Lightning, which no word can be",
    "options": "what a command line has after its own options, of `helicon fit`",
    "conditions": "an option for each slot of the model, which a command line has after its own",
}  # parameter that only the library has -> why


def pairs() -> list[tuple[str, str, str]]:
    """(command, the option that follows it, function) of each row."""
    rows = re.findall(r"^\| `helicon (\w+)(?: --(\w+))?[^|]*\| `helicon\.(\w+)\(", DOC.read_text(), re.MULTILINE)
    assert len(rows) > 8
    return rows


def test_every_command_has_its_function():
    assert {command for command, *_ in pairs()} == set(COMMANDS)
    rows = re.findall(r"^\| (`helicon .*?) \| no function: `\w+` ", DOC.read_text(), re.MULTILINE)
    assert re.findall(r"`helicon (\w+)`", " ".join(rows)) == ["fit", "prepare", "validate", "test"]
    assert {"fit", "prepare", "validate", "test"} == set(LIGHTNING)


@pytest.mark.parametrize(("command", "option", "function"), pairs())
def test_neither_has_an_option_that_the_other_lacks(command, option, function):
    options = {action.dest for action in parser(command)._actions}
    parameters = set(inspect.signature(getattr(helicon, function)).parameters)
    assert not lacking(command, option, parameters, options)
    assert lacking(command, option, {*parameters, "extra"}, options) == {"extra"}
    assert lacking(command, option, parameters, {*options, "extra"}) == {"extra"} or option


def lacking(command: str, option: str, parameters: set[str], options: set[str]) -> set[str]:
    """What either has alone."""
    names = {"plugin": "plugins", **NAMES.get(command, {})}
    options = {names.get(name, name) for name in options} - PRINTED - {*STARTED}
    if option in STARTED:
        options = {"run"} | (options & STARTED[option])
    elif command == "train":
        options |= {"config"} & {action.dest for action in make_parser("gpt", "fit")._actions}
    return (parameters - {*ALONE}) ^ options


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


def test_a_layout_is_in_the_place_of_a_task(model):
    with pytest.raises(ValueError, match=r"^layout is in the place of the task image: leave"):
        helicon.train("texts", "image", layout=["text[4]"])


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
    save_codec(
        CodecBundle(
            codec=ImageCodec(ImageCodecConfig(factor=4, width=8, blocks=0)), medium="image", reading={"size": 8}
        ),
        Path("codec"),
    )
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
    with pytest.raises(ValueError, match=r"again: a bundle of Helicon, which needs no import"):
        helicon.import_model("again")


TINY = ["--data.batch_size", "2", "--model.context", "16", "--model.width", "16", "--model.layers", "1"]


def test_nothing_is_printed_unless_it_is_asked_for(model, capfd):
    steps: list[int] = []

    class Counted(Callback):
        def on_train_batch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
            steps.append(trainer.global_step)
            warnings.warn("of a library", stacklevel=1)

    def used(run: Path, **told: Any) -> None:
        run = helicon.resume(run, options=["--trainer.max_steps", "3"], callbacks=[Counted()], **told)
        helicon.sample(run, tokens=4, **told)
        helicon.sample(model, tokens=4, **told)
        helicon.evaluate(run, "texts", **told)
        helicon.features(run, "texts", 0, **told)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        run = helicon.train("texts", "text", steps=2, options=TINY, callbacks=[Counted()])
        shutil.copytree(run, "told")
        used(run)
        helicon.tokenize(["texts/a.txt"], run="run")
        assert capfd.readouterr() == ("", "")
        assert steps == [1, 2, 3]
        lines: list[str] = []
        used(Path("told"), progress=lines.append)
    assert capfd.readouterr() == ("", "")
    for start in ("cache", "100 %  step 3", "4 tokens, the first after"):
        assert sum(line.startswith(start) for line in lines) >= 1, (start, lines)
    assert sum("UserWarning: of a library" in line for line in lines) == 1
    with Path("told.txt").open("w") as file:
        helicon.sample("run", tokens=4, progress=file)
    assert "4 tokens, the first after" in Path("told.txt").read_text()


WRONG = {
    "dtype 'fp8': fp32 or bf16 or int8 or fp64 is accepted": lambda: helicon.load("run", dtype="fp8"),
    "path 3: a path is accepted": lambda: helicon.load(3),
    "layer '1': a whole number or a list of whole numbers is accepted": lambda: helicon.features("run", ".", "1"),
    "tokens '9': a whole number is accepted": lambda: helicon.sample("run", tokens="9"),
    "count True: a whole number is accepted": lambda: helicon.sample("run", True),
    "temperature '1': a number is accepted": lambda: helicon.sample("run", temperature="1"),
    "style 7: a text is accepted": lambda: helicon.sample("run", style=7),
    "progress True: a file or a function is accepted": lambda: helicon.sample("run", progress=True),
    "model 5: a Bundle or a CodecBundle or a path is accepted": lambda: helicon.evaluate(5, "texts"),
    "files 'a.mid': a list of paths is accepted": lambda: helicon.tokenize("a.mid"),
    "files 1: a path is accepted": lambda: helicon.reconstruct("codec", [1]),
    "lines 'zzz': a list of texts is accepted": lambda: helicon.detokenize("zzz"),
    "items 'x': a list of Items is accepted": lambda: helicon.save("x", "out"),
    "line 1: 'zzz' has neither `start` nor an event such as piano:v72:G1": lambda: helicon.detokenize(["zzz"]),
    "--data.val_split must be 0 or more and less than 1, got 2": lambda: helicon.evaluate(
        "run", "texts", validation=True, val_split=2
    ),
    "to 'onnx': hf or gguf is accepted": lambda: helicon.export_model("run", "out", "onnx"),
    "options '--x': a list of texts is accepted": lambda: helicon.train("texts", "text", options="--x"),
    "callbacks 1: a Callback is accepted": lambda: helicon.train("texts", "text", callbacks=[1]),
    "minutes '3': a number is accepted": lambda: helicon.train("texts", "text", minutes="3"),
    "run None: a path is accepted": lambda: helicon.resume(None),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_wrong_is_a_value_error_in_a_line(model, message):
    call: Any = WRONG[message]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        call()


def test_numbers_and_lists_of_any_kind_are_taken(model):
    (item,) = helicon.sample(model, np.int64(1), tokens=np.int32(4), temperature=np.float32(0.5))
    assert len(item.ids) <= 4
    found = helicon.features(model, Path("texts"), np.array([0, 1]))
    assert list(found.layers) == [0, 1]
    assert len(helicon.tokenize(Path("texts").glob("*.txt"), run=model)) == 2


def test_a_codec_is_opened_and_taken_in_the_place_of_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_codec(
        CodecBundle(
            codec=ImageCodec(ImageCodecConfig(factor=4, width=8, blocks=0)), medium="image", reading={"size": 8}
        ),
        Path("codec"),
    )
    write_image(np.zeros((8, 8, 3), np.uint8), "a.png")
    codec = helicon.load("codec", "cpu")
    assert isinstance(codec, helicon.CodecBundle)
    assert helicon.info(codec) == {name: value for name, value in helicon.info("codec").items() if name != "codec"}
    (found,), (again,) = helicon.reconstruct(codec, ["a.png"]), helicon.reconstruct("codec", ["a.png"])
    np.testing.assert_array_equal(found.after, again.after)
    with pytest.raises(ValueError, match="dtype int8: a codec computes in fp32"):
        helicon.load("codec", dtype="int8")
    for call in (helicon.sample, helicon.evaluate, helicon.features):
        for model in (codec, "codec"):
            with pytest.raises(ValueError, match="model: a codec, which makes and knows nothing by itself"):
                call(model) if call is helicon.sample else call(model, ".")


def test_results_show_themselves_in_a_notebook(model, tmp_path):
    save_codec(
        CodecBundle(
            codec=ImageCodec(ImageCodecConfig(factor=4, width=8, blocks=0)), medium="image", reading={"size": 8}
        ),
        Path("codec"),
    )
    write_image(np.full((8, 8, 3), 200, np.uint8), tmp_path / "a.png")
    (kept,) = helicon.reconstruct("codec", ["a.png"])
    html = kept._repr_html_()
    assert html.count("data:image/png;base64,") == 2
    assert f"{kept.codes} codes" in html
    after, before = kept.save("kept.png")
    assert np.array_equal(read_image(after)[0], kept.after)
    assert np.array_equal(read_image(before)[0], kept.before)
    found = helicon.evaluate(model, "texts")
    assert f"<td>{found.losses[0].nats_per_token:.4g}</td>" in found._repr_html_()
    found.save("figures.json")
    assert json.loads(Path("figures.json").read_text()) == json.loads(json.dumps(found.as_json()))
    assert "<td>0</td>" in helicon.features(model, "texts", 0)._repr_html_()
    shown = helicon.Classification(file=Path("<b>.txt"), probabilities={"<i>": 0.25})._repr_html_()
    assert shown == "<table><tr><th>&lt;b&gt;.txt</th><th></th></tr><tr><td>&lt;i&gt;</td><td>0.25</td></tr></table>"


def test_an_export_goes_to_a_folder_of_its_own_as_that_of_the_command_does(model, capsys):
    Path("full").mkdir()
    Path("full", "config.json").write_text("mine")
    Path("used").mkdir()
    with FolderLock(Path("used")):
        for folder in ("full", "used", "full/config.json"):
            assert main(["export", "run", "-o", folder]) == 2
            with pytest.raises(ValueError, match=r"^-o ") as refused:
                helicon.export_model(model, folder)
            assert capsys.readouterr().err == f"helicon: {refused.value}\n"
    assert Path("full", "config.json").read_text() == "mine"


def test_lists_of_results_show_and_save_all_of_them(model):
    found = helicon.sample(model, 3, tokens=4)
    assert isinstance(found, list)
    assert found[:2] == [found[0], found[1]]
    assert found._repr_html_().count("<pre>") == 3
    assert found[1:]._repr_html_() in found._repr_html_()
    assert found[:2].save("made") == [Path("made/000.txt"), Path("made/001.txt")]
    for written in (found[:2].save("made"), helicon.save(found[:2], "again")):
        assert [path.read_text() for path in written] == [item.media for item in found[:2]]
    told = [helicon.Classification(file=Path(f"{name}.txt"), probabilities={"x": 0.75, "a": 0.25}) for name in "ab"]
    (_, second) = helicon.Results(told).save("told")
    assert list(json.loads(second.read_text())["labels"].items()) == [("x", 0.75), ("a", 0.25)]
    lines = helicon.tokenize(["texts/a.txt", "texts/b.txt"], run=model, ids=True)
    assert lines._repr_html_() == f"<pre>{lines[0]}\n{lines[1]}</pre>"
    lines.save("lines.txt")
    assert Path("lines.txt").read_text().splitlines() == lines
    again = helicon.detokenize(lines, run=model, ids=True)
    assert [Path(path).read_text() for path in again.save("back")] == [item.media for item in again]


@pytest.mark.parametrize(
    "function", ["sample", "classify", "reconstruct", "tokenize", "detokenize", "evaluate", "features"]
)
def test_every_result_shows_and_saves_itself(function):
    kind = get_type_hints(getattr(helicon, function))["return"]
    for each in (get_origin(kind) or kind, *get_args(kind)):
        assert callable(each.save)
        assert callable(each._repr_html_)


def test_what_describes_shows_itself(model):
    opened = helicon.load("run")
    codec = CodecBundle(
        codec=ImageCodec(ImageCodecConfig(factor=4, width=8, blocks=0)), medium="image", reading={"size": 8}
    )
    shown = [helicon.info("run"), helicon.info(opened), opened, codec, helicon.info(codec), helicon.doctor()]
    for thing in shown:
        assert thing._repr_html_().startswith("<table>")
    assert json.loads(json.dumps(shown[0])) == shown[0]


def test_the_demo_is_a_function_too(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "helicon.api.training.run_demo", lambda name, out, run, **settings: asked.append((name, out, settings))
    )
    asked: list[Any] = []
    assert helicon.demo("audio", "out", minutes=2) == Path("out/index.html")
    assert asked == [("audio", Path("out"), {"seed": 0, "minutes": 2})]
    monkeypatch.undo()
    with pytest.raises(ValueError, match="--pieces must be 8 or more"):
        helicon.demo("music", tmp_path / "out", pieces=2)
    with pytest.raises(ValueError, match="world"):
        helicon.demo("film")  # type: ignore[arg-type]
    assert capfd.readouterr() == ("", "")
