"""Each command in README and docs is accepted as it stands; those of the tutorials run, one after the other."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from docs.commands_of_pages import PAGES, ROOT, blocks, commands

from helicon.cli import main
from helicon.cli.commands import COMMANDS, LIGHTNING, parser
from helicon.cli.errors import CommandError
from helicon.commands.generate import slot_values
from helicon.demos import composer, shapes, tones
from helicon.modalities.registry import all_modalities
from helicon.plugins.loading import load_plugins
from helicon.presets import preset, preset_path
from helicon.training.options import check_typed, task_of, typed_config
from helicon.training.parser import check_names, make_parser
from helicon.training.settings.mixed_paths import with_sources
from helicon.training.settings.sizes import layouts_task
from helicon.training.settings.words import resolve_configs
from helicon.training.stages import make_request

EXAMPLES = ROOT / "examples"
MINUTES = "0.4"  # a codec gets a third of it, and begins with some batches
TUTORIALS = [*sorted((ROOT / "docs" / "tutorials").glob("*.md")), ROOT / "docs" / "how-to" / "fine-tuning.md"]


def check(words: list[str]) -> None:
    """Raises what a command would that has a word too many, a value of another type or an option that there is not."""
    command, words = words[0], [str(EXAMPLES / word) if word.startswith("own_") else word for word in words[1:]]
    load_plugins([words[place + 1] for place, word in enumerate(words) if word == "--plugin"])
    if command in LIGHTNING:
        words = without_plugins([re.sub(r"^runs/.*config\.yaml$", "run.yaml", word) for word in words])
        words = [word for word in words if word != "--print_config"]  # which ends the process
        check_typed(command, words)
        make_parser(task_of(words), command).parse_args(resolve_configs(words), defaults=False)
        return
    options = parser(command)
    if command not in ("generate", "train"):
        options.parse_args(words)
        return
    parsed, rest = options.parse_most(words)
    if command == "generate":
        known = {slot for modality in all_modalities().values() for slot in modality.slots}
        assert set(slot_values(rest)) <= known, rest
        return
    if parsed.resume or parsed.repeat:
        typed_config(rest, preset("run.yaml"))
        return
    task, path = (layouts_task(parsed.layout), parsed.task) if parsed.layout else (parsed.task, parsed.path)
    path, rest = with_sources(rest, path)
    check_names(rest)
    assert path, words
    assert not (parsed.layout and parsed.path), words
    make_request(task, Path(path), rest, size=parsed.size, minutes=parsed.minutes, levels=parsed.levels)


def without_plugins(words: list[str]) -> list[str]:
    """Words but for `--plugin FILE`."""
    places = {place + after for place, word in enumerate(words) if word == "--plugin" for after in (0, 1)}
    return [word for place, word in enumerate(words) if place not in places]


@pytest.fixture(autouse=True)
def by_itself(nothing_loaded, tmp_path, monkeypatch):
    """In a folder that has nothing but the config of a run, without plugins of others."""
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(preset_path("music").read_text("utf-8") + "  path: files\n", "utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_of_a_page_are_accepted(page):
    for words in commands(page.read_text("utf-8")):
        try:
            check(words)
        except Exception as error:
            pytest.fail(f"helicon {' '.join(words)}\n{type(error).__name__}: {error}")


@pytest.mark.parametrize(
    "line",
    [
        "helicon train music midi --minuets 3",
        "helicon train music midi --model.layerz 3",
        "helicon train music midi --model.layers three",
        "helicon train musik midi",
        "helicon train --layout 'style[3] music' midi runs",
        "helicon train --resume runs/a --model.layerz 3",
        "helicon fit --config musik --data.path midi",
        "helicon validate --config runs/a/config.yaml --model.layerz 3",
        "helicon generate runs/a --top_k 3",
        "helicon eval runs/a",
        "helicon sing",
    ],
)
def test_commands_that_are_wrong_are_noticed(line):
    (words,) = commands(f"```sh\n{line}   # as it should not be\n```")
    with pytest.raises((CommandError, ValueError, KeyError, AssertionError)):
        check(words)


def test_every_command_is_found():
    text = "```sh\npip install x && helicon demo music\ntorchrun ... -m helicon fit \\\n    --config a  # b\nls\n```\n"
    assert [*commands(text)] == [["demo", "music"], ["fit", "--config", "a"]]
    assert not [*commands("<!-- not checked: why -->\n```sh\nhelicon sing\n```")]
    shown = {words[0] for page in PAGES for words in commands(page.read_text("utf-8"))}
    assert {*COMMANDS, *LIGHTNING} - shown <= {"test"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_of_a_page_is_python(page):
    for block in blocks(page.read_text("utf-8"), "python"):
        compile(block, str(page), "exec")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Where the files are that the tutorials speak of."""
    folder = tmp_path_factory.mktemp("home")
    composer.write_folder(folder / "midi", 40, seed=1)
    (folder / "midi" / "duet").rename(folder / "midi" / "bach")
    shutil.copytree(folder / "midi" / "march", folder / "more" / "folk")
    shutil.copy(next((folder / "more" / "folk").glob("*.mid")), folder / "start.mid")
    pictures = shapes.write_folder(folder / "captioned" / "pictures", 60, seed=1)
    sounds = tones.write_folder(folder / "captioned" / "jackson", 60, seed=1)
    shutil.copytree(folder / "captioned" / "jackson", folder / "sounds" / "jackson")
    for name, file in {"a.png": pictures[0], "b.png": pictures[1], "in.wav": sounds[0]}.items():
        shutil.copy(file, folder / name)
    shutil.copytree(folder / "captioned", folder / "media")
    shutil.copytree(folder / "midi", folder / "media" / "music")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_runs(page, home, monkeypatch):
    """With less time than it says, and fewer items."""
    monkeypatch.chdir(home)
    for words in commands(page.read_text("utf-8")):
        for flag, value in {"--minutes": MINUTES, "-n": "2"}.items():
            words = [value if before == flag else word for before, word in zip(["", *words], words)]
        assert main([re.sub("^~", str(home), word) for word in words]) == 0, words
