"""The command line: ways in within a second, errors in a line."""

from __future__ import annotations

import ast
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import helicon
from helicon.cli import main
from helicon.cli.commands import COMMANDS, LIGHTNING, parser
from helicon.cli.dispatch import OVERVIEW, SPIN_COUNT, run

ROOT = Path(helicon.__file__).parent


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_help_does_not_wait_for_pytorch():
    code = "import sys; from helicon.cli import main; main(['--help']); print({'torch', 'numpy'} & sys.modules.keys())"
    assert python(code).splitlines()[-1] == "set()"


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_a_command_neither(command):
    code = (
        f"import sys; from helicon.cli import main\ntry: main(['{command}', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    assert python(code).splitlines()[-1] == "False"


@pytest.mark.parametrize(
    "words",
    [
        ["--resume", "RUN", "--trainer.strategy", "auto", "--trainer.devices", "1"],
        ["--trainer.strategy=auto", "--trainer.devices", "1", "--resume", "RUN"],
        ["--trainer.strategy", "auto", "--resume=RUN", "--trainer.devices", "1"],
    ],
)
def test_values_of_options_for_lightning_are_no_task(words, monkeypatch):
    seen = []
    monkeypatch.setattr("helicon.cli.dispatch._call", lambda target, parsed: seen.append(parsed) or 0)
    assert run("train", words) == 0
    (parsed,) = seen
    assert (parsed.task, parsed.path, parsed.resume) == (None, None, "RUN")
    assert " ".join(parsed.rest).replace("=", " ") == "--trainer.strategy auto --trainer.devices 1"


def test_slots_may_come_before_the_model(monkeypatch):
    seen = []
    monkeypatch.setattr("helicon.cli.dispatch._call", lambda target, parsed: seen.append(parsed) or 0)
    assert run("generate", ["--style", "bach piano", "RUN", "--stream", "-n", "2", "--text=slow", "-o", "out"]) == 0
    (parsed,) = seen
    assert (parsed.model, parsed.stream, parsed.count, parsed.out) == ("RUN", True, 2, "out")
    assert parsed.rest == ["--style", "bach piano", "--text=slow"]


def test_a_length_need_not_be_whole(monkeypatch):
    seen = []
    monkeypatch.setattr("helicon.cli.dispatch._call", lambda target, parsed: seen.append(parsed) or 0)
    assert run("generate", ["RUN", "--seconds", "7.5", "--seed", "3"]) == 0
    assert (seen[0].seconds, seen[0].seed, seen[0].count) == (7.5, 3, 1)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_each_option_and_ends_with_an_example(command):
    shown, example = parser(command), COMMANDS[command].example
    assert shown.format_help().rstrip().endswith(f"example: {example}")
    assert example.startswith(f"helicon {command}")
    shown.parse_args(shlex.split(example)[2:])
    assert [action.dest for action in shown._actions if not action.help] == []
    groups = {group.title: len(group._group_actions) for group in shown._action_groups}
    assert groups["options"] <= 8  # with --help: those that most people need


def test_help_comes_within_a_second():
    start = os.times()
    subprocess.run([sys.executable, "-m", "helicon", "--help"], capture_output=True, check=True)
    end = os.times()  # of CPU: the machine may be busy
    assert end.children_user + end.children_system - start.children_user - start.children_system < 1


def test_only_training_imports_lightning():
    """In any way: also within a function."""
    found = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] in ("pytorch_lightning", "lightning") for name in names):
                found.add(path.relative_to(ROOT).parts[0])
    assert found == {"training"}


def test_generating_does_without_lightning():
    code = (
        "import sys, helicon.generation.generate, helicon.commands.generate; print('pytorch_lightning' in sys.modules)"
    )
    assert python(code) == "False"


@pytest.mark.parametrize("args", [[], ["-h"], ["--help"], ["help"]])
def test_bare_helicon_shows_the_ways_in(capsys, args):
    assert main(args) == 0
    assert capsys.readouterr().out.strip() == OVERVIEW.strip()
    assert all(command in OVERVIEW for command in [*COMMANDS, *LIGHTNING])


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"helicon {helicon.__version__}\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["generat"], "unknown command 'generat'; nearest: generate"),
        (["xyzzy"], "unknown command 'xyzzy'; see helicon --help"),
        (["tokenize", "--idz", "a.mid"], "unknown argument '--idz'; nearest: --ids"),
        (["tokenize"], "the following arguments are required: FILE"),
        (["generate", "x", "--dev", "cpu"], "x: no such run or bundle"),
        (["generate", "nowhere"], "nowhere: no such run or bundle"),
        (["tokenize", "nowhere.mid"], "nowhere.mid: No such file or directory"),
        (["detokenize", "nowhere.txt", "-o", "a.mid"], "nowhere.txt: No such file or directory"),
        (["fit", "--config", "music"], "path"),
        (["fit", "--config", "nowhere.yaml", "--data.path", "x"], "unknown preset or config file 'nowhere.yaml'"),
        (["fit", "--config", "music", "--data.path", "nowhere"], "nowhere: no such file or folder"),
        (["fit", "--config", "music", "--data.path", ".", "--ckpt_path", "x/y.ckpt"], "y.ckpt: no such checkpoint"),
    ],
)
def test_an_error_is_one_line(capsys, tmp_path, monkeypatch, args, said):
    monkeypatch.chdir(tmp_path)
    assert main(args) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert error.startswith("helicon: ")
    assert list(tmp_path.iterdir()) == []


def test_the_rest_of_the_files_goes_on(capsys, tmp_path):
    from helicon.demos.composer import write_folder

    paths = write_folder(tmp_path, 2, seed=1)
    (tmp_path / "bad.mid").write_bytes(b"no")
    assert main(["tokenize", str(paths[0]), str(tmp_path / "bad.mid"), str(paths[1])]) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2
    assert f"{tmp_path / 'bad.mid'}: " in said.err


def test_tokenize_prints_what_reading_lost(capsys, tmp_path):
    import helicon

    hangs = bytes.fromhex("4d546864 00000006 0000 0001 01e0 4d54726b 00000010 00903c40 8360ff2f00")
    (tmp_path / "hangs.mid").write_bytes(hangs)
    counts = {"hanging notes": 1, "wrong track lengths": 1}
    assert main(["tokenize", str(tmp_path / "hangs.mid")]) == 0
    printed = capsys.readouterr()
    assert printed.err == f"repaired   {tmp_path / 'hangs.mid'}: 1 hanging notes, 1 wrong track lengths\n"
    lines = helicon.tokenize([tmp_path / "hangs.mid"])
    assert (printed.out.splitlines(), [counts]) == (lines, lines.repaired)


def test_a_traceback_comes_when_asked_for(monkeypatch):
    monkeypatch.setenv("HELICON_TRACEBACK", "1")
    with pytest.raises(ValueError, match="no such run or bundle"):
        main(["generate", "nowhere"])


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    from helicon.demos.composer import write_folder

    path = write_folder(tmp_path, 1, seed=1)[0]
    command = [sys.executable, "-m", "helicon", "tokenize", *[str(path)] * 300]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}) as done:
        assert done.stdout is not None
        assert done.stderr is not None
        done.stdout.read(10)
        done.stdout.close()
        assert done.stderr.read() == b""
        assert done.wait(60) == 0


def test_a_folder_is_prepared_alone(tmp_path, capsys, monkeypatch):
    from helicon.demos.composer import write_folder

    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "midi", 3, seed=1)
    args = ["--config", "music", "--data.path", "midi", "--data.cache", "cache"]
    assert main(["prepare", *args]) == 0
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "midi"]
    small = ["--config", "tiny", "--trainer.max_steps=1", "--samples=false", "--runs", "runs", "--name", "run"]
    assert main(["fit", *args, *small]) == 0
    assert main(["prepare", "--config", "runs/run/config.yaml"]) == 0
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_threads_of_our_own_process_soon_sleep_where_they_wait(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["helicon", "--version"])
    monkeypatch.setattr(os, "environ", {})
    assert main([]) == 0
    assert os.environ == {}  # the process of whoever calls it is left alone
    assert main() == 0
    assert os.environ["GOMP_SPINCOUNT"] == SPIN_COUNT
    os.environ["GOMP_SPINCOUNT"] = "7"
    main()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
