"""`helicon train audio --levels 2` in miniature: a codec, a model of its top level, an upsampler; any stage goes on."""

from __future__ import annotations

import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from sound_bundles import noise, sound_bundle, sound_codec, upsampled
from tiny_bundles import text_bundle

from helicon.bundle.storage import load_bundle, save_bundle
from helicon.bundle.upsamplers import attach_bundle, upsamplers_of
from helicon.cli import main
from helicon.formats.audio import read_audio, write_audio
from helicon.pages import codec_page, model_page
from helicon.presets import merge, preset, preset_names
from helicon.training import stages as stages_of
from helicon.training.errors import TrainingError
from helicon.training.learning.base import RunModule
from helicon.training.options import resolve
from helicon.training.runs import trust
from helicon.training.settings.request import TrainRequest
from helicon.training.stages import attach_upsampler, chain_stages, finest_level, stages
from helicon.vqvae.storage import load_codec, save_codec

pytestmark = pytest.mark.usefixtures("one_thread")

CODEC = """\
task: audio-codec
model: {width: 8, depth: 1, quantizer: fsq, levels: [3, 3, 2]}
data: {window: 256, batch_size: 4}
"""
UPSAMPLER = """\
model: {layers: 1, width: 16, heads: 2}
data: {layouts: ["style[1] audio@above"], tokenizers: {style: labels}, batch_size: 4}
"""
SIZE = ["--model.layers", "1", "--model.width", "16", "--model.heads", "2", "--data.batch_size", "4"]
OPTIONS = ["--levels", "2", "--minutes", "0.05", "--data.val_split", "0.4", "--samples=false", *SIZE]
OPTIONS += ["--trainer.max_steps", "4", "--name", "mine"]
NAMES = ["mine-codec", "mine", "mine-upsampler-0"]


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen sounds of two kinds with captions, a cache of one's own, and a folder to work in."""
    monkeypatch.setattr(model_page, "ITEMS", 1)
    monkeypatch.setattr(codec_page, "SHOWN_SOUNDS", 1)
    monkeypatch.setattr(stages_of, "UPSAMPLER", "upsampler.yaml")
    # It takes the place of a preset, which a run that is gone on with may name
    monkeypatch.setattr(trust, "preset_names", lambda: [*preset_names(), "upsampler.yaml"])
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for number in range(16):
        path = tmp_path / "sounds" / ("bell", "gong")[number % 2] / f"{number:02}.wav"
        write_audio(noise(400 + 100 * (number % 4), number), path)
        path.with_suffix(".txt").write_text(f"no. {number}")
    (tmp_path / "codec.yaml").write_text(CODEC)
    (tmp_path / "upsampler.yaml").write_text(UPSAMPLER)


@pytest.fixture
def wanted(tmp_path: Path) -> TrainRequest:
    return TrainRequest(task="audio", path=Path("sounds"), minutes=9.0, levels=2, seed=5, name="mine")


def config_of(name: str) -> dict:
    return yaml.safe_load(Path("runs", name, "config.yaml").read_text())


def stop_at(patch: pytest.MonkeyPatch, steps: dict[str, int]) -> None:
    """Has the runs of these names told to stop at a step, once."""
    begin = RunModule.on_train_batch_start

    def on_train_batch_start(self: RunModule, batch, batch_idx: int) -> None:
        name = Path(self.trainer.default_root_dir).name
        if self.global_step == steps.get(name):
            del steps[name]
            signal.raise_signal(signal.SIGTERM)
        begin(self, batch, batch_idx)

    patch.setattr(RunModule, "on_train_batch_start", on_train_batch_start)


def check_model() -> None:
    """The model has its upsampler, both have the codec, and its page lets one hear what they make together."""
    codec, folder = load_codec(Path("runs/mine-codec")), Path("runs/mine/model")
    assert codec.codec.config.hops == (16, 64)  # type: ignore[union-attr]
    (upsampler,) = upsamplers_of(folder)
    assert upsampler == folder / "upsamplers" / "0"
    top, finer = load_bundle(folder), load_bundle(upsampler)
    assert [str(bundle.schema.layouts[0]) for bundle in (top, finer)] == ["style[1] audio", "style[1] audio@above"]
    for bundle, slot, level in ((top, "audio", 1), (finer, "audio", 0), (finer, "above", 1)):
        told = bundle.sequencer.tokenizers[slot].describe()
        assert (told["codec"], told["level"]) == (codec.fingerprint(), level)
        assert set(bundle.sequencer.tokenizers["style"].block.tokens) == {"bell", "gong", "any-label"}
    page = Path("runs/mine/index.html").read_text(encoding="utf-8")
    assert 'src="generated/0/000.wav"' in page
    assert finer.hash() in Path("runs/mine/generated/0/000.json").read_text()
    lengths = [len(read_audio(f"runs/mine/generated/0/{name}.wav")[0]) for name in ("levels/hop-64/000", "000")]
    assert lengths[0] == lengths[1] > 0


def test_all_three_stages(capsys):
    assert main(["train", "audio", "sounds", "--codec", "codec.yaml", *OPTIONS]) == 0
    said = capsys.readouterr().err
    for words in (
        "stages     codec in 1 s, then audio in 1 s, then upsampler in 1 s",
        "8,000 samples a second to 500, 125 of 18 codes",
        "next stage helicon train audio sounds",
        '"audio": "runs/mine-codec"',
        "next stage helicon train upsampler.yaml sounds",
        "--for runs/mine",
        "attached   runs/mine/model/upsamplers/0",
        "page       runs/mine/index.html",
        "helicon generate runs/mine -n 4",
    ):
        assert words in said
    assert sorted(path.name for path in Path("runs").iterdir()) == sorted(NAMES)
    assert Path("runs/mine-codec/index.html").is_file()
    assert not Path("runs/mine-upsampler-0/index.html").exists()
    assert [(config_of(name)["next"] or {}).get("task") for name in NAMES] == ["audio", "upsampler.yaml", None]
    assert [config_of(name)["data"]["val_split"] for name in NAMES] == [0.4, 0.4, 0.4]
    assert said.count("pieces), `style[1] audio") == 3  # fit reports, too
    assert len(set(re.findall(r"(\d+ of \d+) pieces", said))) == 1
    check_model()
    assert main(["generate", "runs/mine", "--style", "gong", "--seconds", "0.123", "-o", "out"]) == 0
    assert len(read_audio("out/000.wav")[0]) == 984


def test_stages_that_were_stopped_go_on_and_the_others_follow(monkeypatch, capsys):
    save_codec(sound_codec(hops=(16, 64)), Path("runs/mine-codec/model"))
    stop_at(monkeypatch, {"mine": 2, "mine-upsampler-0": 1})
    assert main(["train", "audio", "sounds", *OPTIONS, "--data.tokenizer", "runs/mine-codec"]) == 143
    assert "helicon train --resume runs/mine" in capsys.readouterr().err.splitlines()[-1]
    assert not Path("runs/mine-upsampler-0").exists()
    assert main(["train", "--resume", "runs/mine"]) == 143
    said = capsys.readouterr().err
    assert "next stage helicon train upsampler.yaml sounds" in said
    assert "helicon train --resume runs/mine-upsampler-0" in said.splitlines()[-1]
    assert not Path("runs/mine/model/upsamplers").exists()
    assert not Path("runs/mine/index.html").exists()
    assert main(["train", "--resume", "runs/mine-upsampler-0"]) == 0
    check_model()


def test_an_upsampler_for_a_bundle_alone(capsys):
    save_bundle(sound_bundle(), Path("bundle"))
    words = ["--for", "bundle", "--minutes", "0.01", "--name", "up"]
    assert main(["train", "upsampler.yaml", "sounds", *words]) == 0
    said = capsys.readouterr().err
    assert "attached   bundle/upsamplers/0" in said
    assert "next       helicon generate bundle -n 4" in said
    assert not Path("bundle/index.html").exists()
    assert main(["generate", "bundle", "--seconds", "0.01", "-o", "out"]) == 0


def told(found: list[TrainRequest]) -> list[tuple[str, str | None, float, str]]:
    return [(each.task, each.name, each.minutes, str(each.upsampler_of)) for each in found]


def test_what_is_trained_for_two_levels(wanted):
    overrides = {"data": {"val_split": 0.3, "rate": 8000}, "model": {"layers": 2}}
    found = stages(replace(wanted, overrides=overrides, size="tiny"))
    assert told(found) == [
        ("audio-codec", "mine-codec", 3.0, "None"),
        ("audio", "mine", 3.0, "None"),
        ("upsampler.yaml", "mine-upsampler-0", 3.0, "runs/mine"),
    ]
    assert [each.overrides for each in found] == [
        {"data": {"val_split": 0.3, "rate": 8000}, "model": {"hops": "auto:2"}},
        {
            "data": {"val_split": 0.3, "tokenizers": {"style": "labels", "audio": "runs/mine-codec"}},
            "model": {"layers": 2},
        },
        {"data": {"val_split": 0.3}},
    ]
    assert [each.size for each in found] == ["auto", "tiny", "tiny"]
    assert [each.levels for each in found[1:]] == [1, 1]
    first = chain_stages(found)
    assert replace(first, next=None) == found[0]
    assert first.next is not None
    assert (replace(first.next, next=None), first.next.next) == (found[1], found[2])


def test_what_is_trained_for_one_level_and_for_three(wanted):
    assert told(stages(replace(wanted, levels=1))) == [
        ("audio-codec", "mine-codec", 3.0, "None"),
        ("audio", "mine", 6.0, "None"),
    ]
    found = stages(replace(wanted, levels=3))
    assert found[0].overrides == {"model": {"hops": "auto:3"}}
    assert told(found) == [
        ("audio-codec", "mine-codec", 3.0, "None"),
        ("audio", "mine", 3.0, "None"),
        ("upsampler.yaml", "mine-upsampler-1", 1.5, "runs/mine"),
        ("upsampler.yaml", "mine-upsampler-0", 1.5, "runs/mine"),
    ]


def test_a_codec_keeps_the_levels_that_its_preset_has(wanted):
    Path("three.yaml").write_text(CODEC.replace("width", "hops: [4, 16, 64], width"))
    found = stages(replace(wanted, overrides={"codec": "three.yaml"}))
    assert found[0].overrides == {}
    assert [each.name for each in found] == ["mine-codec", "mine", "mine-upsampler-1"]
    with pytest.raises(ValueError, match="--levels 4: its sound has 3"):
        stages(replace(wanted, levels=4, overrides={"codec": "three.yaml"}))


def test_a_tokenizer_that_is_named_needs_no_codec(wanted):
    assert told(stages(replace(wanted, levels=1, overrides={"data": {"tokenizer": "mulaw"}}))) == [
        ("audio", "mine", 9.0, "None"),
    ]  # fmt: skip
    save_codec(sound_codec(hops=(2, 4, 16)), Path("codec"))
    found = stages(replace(wanted, overrides={"data": {"tokenizer": "codec"}}))
    assert [(each.name, each.minutes) for each in found] == [("mine", 4.5), ("mine-upsampler-1", 4.5)]
    found = stages(replace(wanted, overrides={"data": {"tokenizer": "codec@1"}}))
    assert [each.name for each in found] == ["mine", "mine-upsampler-0"]
    save_bundle(sound_bundle(), Path("bundle"))
    found = stages(replace(wanted, init_from=Path("bundle")))
    assert [(each.name, each.init_from) for each in found] == [("mine", Path("bundle")), ("mine-upsampler-0", None)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": 0}, "levels 0: a whole number from 1 to 8 is accepted"),
        ({"task": "text"}, "--levels 2: text makes no sound, and only sound has levels"),
        ({"task": "text-to-image"}, "--levels 2: text-to-image makes no sound"),
        ({"task": "classify"}, "--levels 2: only sound has levels, and classify names no medium; --data.layouts "),
        ({"task": "classify", "overrides": {"data": {"layouts": ["text"]}}}, "--levels 2: classify makes no sound"),
        ({"task": "classify", "overrides": {"data": {"layouts": ["audio"]}}}, "--levels 2: its sound has 0"),
        ({"overrides": {"data": {"tokenizer": "mulaw"}}}, "--levels 2: its sound has 0"),
        ({"overrides": {"data": {"tokenizer": "codec@0"}}}, "--levels 2: its sound has 1"),
        ({"levels": 3, "overrides": {"data": {"tokenizer": "codec"}}}, "--levels 3: its sound has 2"),
        ({"init_from": Path("mulaw")}, "--levels 2: its sound has 0"),
    ],
)
def test_levels_that_there_are_not_are_told_before_anything_is_trained(wanted, change, message):
    save_codec(sound_codec(), Path("codec"))
    save_bundle(sound_bundle(tokenizer="mulaw"), Path("mulaw"))
    with pytest.raises(ValueError, match=message):
        stages(replace(wanted, **change))


@pytest.mark.parametrize(
    ("model", "change", "error", "message"),
    [
        ("text", {}, TrainingError, "--for text: a model of sound by the codes of a codec is needed"),
        ("mulaw", {}, TrainingError, "--for mulaw: a model of sound by the codes of a codec is needed"),
        ("whole", {}, TrainingError, "--for whole: it makes the finest level of its codec already"),
        ("codec", {}, ValueError, r"codec: a codec, not a model; helicon reconstruct shows"),
        ("nowhere", {}, ValueError, "nowhere: no such run or bundle"),
        ("top", {"task": "audio"}, ValueError, "--for top: one of audio-upsampler, .* is needed, without --from"),
        ("top", {"task": "music"}, ValueError, "--for top: one of audio-upsampler, .* is needed, without --from"),
        (
            "top",
            {"init_from": Path("top")},
            ValueError,
            "--for top: one of audio-upsampler, .* is needed, without --from",
        ),
        ("top", {"levels": 2}, ValueError, "--levels 2: --for trains one upsampler, to the next finer level"),
    ],
)
def test_what_takes_no_upsampler(wanted, model, change, error, message):
    save_bundle(text_bundle(), Path("text"))
    save_bundle(sound_bundle(tokenizer="mulaw"), Path("mulaw"))
    save_bundle(sound_bundle(), Path("top"))
    save_codec(sound_codec(), Path("codec"))
    upsampled(Path("whole"))
    with pytest.raises(error, match=message):
        stages(replace(wanted, **{"task": "audio-upsampler", "levels": 1, "upsampler_of": Path(model), **change}))


@pytest.mark.parametrize("top", ["style[1] audio", "text[8] audio", "lyrics[8] style[1] audio"])
def test_an_upsampler_is_told_the_style_where_the_model_is(wanted, top):
    save_bundle(sound_bundle(top), Path("top"))
    (found,) = stages(replace(wanted, task="audio-upsampler", levels=1, upsampler_of=Path("top")))
    data = resolve(merge(preset(found.task), {"data": {"path": "sounds"}}, found.overrides)).make_data()
    data.prepare_data()
    data.setup("fit")
    layout = "style[1] audio@above" if "style" in top else "audio@above"
    assert list(map(str, data.layouts)) == [layout]
    slots = {"audio": 0, "above": 1}
    assert {slot: data.sequencer.tokenizers[slot].level for slot in slots} == slots


def test_each_upsampler_is_attached_at_its_own_level():
    codec = sound_codec(hops=(2, 4, 16))
    top = Path("top")
    save_bundle(sound_bundle(codec=codec), top)
    for level in (0, 1):
        save_bundle(sound_bundle("style[1] audio@above", codec=codec, level=level), Path(f"up-{level}"))
    assert finest_level(top) == 2
    assert attach_upsampler(Path("up-1"), top) == top / "upsamplers" / "1"
    assert finest_level(top) == 1
    assert attach_upsampler(Path("up-1"), top) == top / "upsamplers" / "1"  # once more, trained for longer
    assert attach_upsampler(Path("up-0"), top) == top / "upsamplers" / "0"
    assert [path.name for path in upsamplers_of(top)] == ["1", "0"]
    for path in upsamplers_of(top):
        assert load_bundle(path).hash() == load_bundle(Path(f"up-{path.name}")).hash()
    with pytest.raises(TrainingError, match="it makes the finest level of its codec already"):
        finest_level(top)
    assert attach_bundle(Path("up-1"), top, 1) == top / "upsamplers" / "1"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["audio-codec", "sounds", "--levels", "2"], "--model.hops says which levels a codec has"),
        (["audio-codec", "sounds", "--for", "runs/mine"], "--levels and --for are of models of sound"),
        (["--resume", "runs/mine", "--levels", "2"], "leave out --levels"),
        (["audio", "sounds", "--levels", "two"], "--levels"),
    ],
)
def test_what_else_has_no_levels_is_one_line(capsys, args, message):
    assert main(["train", *args]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not Path("runs").exists()
