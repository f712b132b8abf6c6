"""Command line: options of each command, dispatch, and one-line errors.

In come the words of a command line; out comes an exit status. Nothing here imports PyTorch, so that help and wrong
options are answered at once; the module of a command is imported when it is run.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from importlib import import_module
from types import NoneType
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

import helicon
from helicon.formats.printable import STANDARD_OUTPUT, print_text, printable
from helicon.plugins.loading import PluginWarning, load_plugins, plugin_error_message
from helicon.plugins.options import with_plugins
from helicon.sampling import SamplingOptions

OVERVIEW = """\
Helicon: one GPT for every medium. Files become tokens, a GPT learns them, what it samples becomes files again.

  helicon demo music                        make music, train on it for a minute, listen to the result
  helicon demo text-to-image                draw shapes, learn to draw what captions say in a few minutes
  helicon demo audio                        play tones, learn to play what captions say
  helicon train music DIR --minutes 30      train on your own MIDI files; ends with a page and the next command
  helicon train text DIR                    the same for text files, with image for pictures
  helicon train text-to-image DIR           captions to pictures, from NAME.txt beside NAME.png
  helicon train audio DIR                   sounds of any kind; text-to-audio with captions from NAME.txt
  helicon train image-codec DIR             a VQ-VAE, or audio-codec; helicon reconstruct RUN FILE... is what it keeps
  helicon generate RUN -n 4 --seed 7        new pieces from a run or a bundle
  helicon generate RUN --prime start.mid    continue a piece, or --prime picture.png --keep 0.5 complete a picture
  helicon generate RUN --prime in.wav --seconds 60    continue a sound, exactly so long in all
  helicon generate RUN --text "..." -n 9    pictures for a caption; --image picture.png --to text writes captions
  helicon tokenize song.mid                 a piece as MuseNet's words; detokenize is the way back
  helicon eval RUN --data.path DIR          how well a model knows other files
  helicon features RUN DIR --layer 8        what a layer makes of each file, as numbers for a classifier
  helicon train classify DIR --from RUN     learn a label for each folder in it; then classify RUN FILE...
  helicon import FOLDER -o BUNDLE           GPT-2 and ImageGPT from Hugging Face's files
  helicon export RUN --to hf -o FOLDER      a model of text for transformers, or --to gguf for llama.cpp
  helicon info RUN                          what is in a model
  helicon doctor                            what this machine has, and what would help
  helicon fit --config music --data.path DIR   the same training for Lightning users (validate, test, prepare)

`helicon COMMAND --help` tells more.
"""

FREE_SPACE = "free some space and run it again"  # advice for a full disk
MAX_MESSAGE = 2000  # characters of an error or warning: some 25 lines of a terminal
# GOMP_SPINCOUNT: iterations that a thread of GNU's OpenMP waits actively before it sleeps. 5000 are .1 ms; the default
# is several ms, in which a waiting thread keeps a core from the program that the others wait for
SPIN_COUNT = "5000"
LIGHTNING = ("fit", "validate", "test", "prepare")  # commands of LightningCLI, which parses them itself


class CommandError(Exception):
    """Error of a command line; the message is one line."""


class CommandParser(argparse.ArgumentParser):
    """ArgumentParser without abbreviations; its errors are one line and name the nearest option."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        raise CommandError(" ".join(message.split()))

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help; argparse would ignore that standard output cannot be written to."""
        print_text(message.rstrip("\n"), file)

    def parse_most(self, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Parse the known options, and collect other options with their values.

        `parse_known_args` alone would take the value of an unknown option for a positional argument.

        Args:
            words: of the command line.

        Returns:
            The parsed options, and all other words.
        """
        ours, rest, left = [], [], list(words)
        while left:
            word = left.pop(0)
            name, equals, _ = word.partition("=")
            if not name.startswith("--") or name in ("--", *self._option_string_actions):
                ours.append(word)
                continue
            rest.append(word)
            if not equals and left and not left[0].startswith("--"):
                rest.append(left.pop(0))
        parsed, more = self.parse_known_args(ours)
        return parsed, [*rest, *more]

    def unrecognised(self, words: Sequence[str]) -> NoReturn:
        """Raise CommandError with the first of some unknown words and the options nearest to it."""
        word = words[0].partition("=")[0]
        options = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        near = get_close_matches(word, options, n=3, cutoff=0.5)
        advice = f"nearest: {', '.join(near)}" if near else f"see {self.prog} --help"
        raise CommandError(f"unknown argument {word!r}; {advice}")


def _sampling_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of SamplingOptions."""
    kinds = get_type_hints(SamplingOptions)
    for option in fields(SamplingOptions):
        several = get_origin(kinds[option.name]) is Sequence
        kind = next(kind for kind in (get_args(kinds[option.name]) or (kinds[option.name],)) if kind is not NoneType)
        settings: dict[str, Any] = {"action": "append", "default": []} if several else {"default": option.default}
        settings |= {name: option.metadata[name] for name in ("help", "metavar")}
        parser.add_argument(f"--{option.name.replace('_', '-')}", type=kind, **settings)


def _plugin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--plugin", action="append", default=[], metavar="FILE.py", help="code of your own, which is run; repeatable"
    )


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("world", choices=["music", "text-to-image", "audio"], help="which made-up world")
    parser.add_argument("-o", "--out", default="demo", help="folder to write (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="training time (default: 1, for pictures 6, for sound 3)")
    parser.add_argument("--pieces", type=int, help="what to make (default: 300 pieces, 20000 pictures, 6000 sounds)")
    parser.add_argument("--seed", type=int, default=0)


def _train(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("task", nargs="?", help="music, text, image, audio, image-codec, audio-codec, text-to-image, text-to-audio ...")
    add("path", nargs="?", help="folder of files, searched recursively")
    add("--minutes", type=float, help="training time; shapes the learning rate too (default: 10)")
    add("--steps", type=int, metavar="N", help="of the optimizer, of each stage; without --minutes they alone end it")
    add("--size", default="auto", help="auto, tiny, small, medium, large or any shape preset (default: auto)")
    add("--name", help="folder in runs/ (default: TASK-N)")
    add("--from", dest="init_from", metavar="BUNDLE", help="fine-tune this run or bundle")
    add("--layout", action="append", metavar="LAYOUT", help="instead of a task, e.g. 'text[32] music'; may be repeated")
    add("--levels", type=int, default=1, metavar="N", help="of sound: a model of the top one, N - 1 upsamplers")
    add("--for", dest="upsampler_of", metavar="RUN", help="the run of sound that an upsampler is trained for")
    add("--resume", metavar="RUN", help="go on with a run that was stopped")
    add("--repeat", metavar="RUN", help="make a run once more, the same step by step, as a new run")
    add("--manifest", metavar="FILE", help="CSV or JSONL with columns file, label, text; COCO JSON")
    add("--seed", type=int, help="of batches and noise (default: 0)")
    add("--runs", help="folder of all runs (default: runs)")
    _plugin(parser)


def _generate(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="RUN_OR_BUNDLE")
    add("-n", "--count", type=int, default=1, help="how many items")
    add("--seed", type=int, default=0, help="item i depends on (seed, i) alone")
    add("--prime", metavar="FILE", help="a file to continue")
    add("--keep", metavar="8s|0.5", help="how much of it to keep")
    add("--seconds", type=float, help="how long, exactly")
    add("--tokens", type=int, help="at most so many new tokens")
    add("--to", metavar="SLOT", help="which slot to make, for models that make several")
    _sampling_options(parser)
    add("--stream", action="store_true", help="print tokens as they come")
    add("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    add("--dtype", default="fp32", choices=["fp32", "bf16", "int8", "fp64"], help="int8: of weights, fastest on a CPU")
    add("-o", "--out", default="out", help="folder to write (default: %(default)s)")
    _plugin(parser)
    parser.epilog = (
        "Every slot of the model's layouts is an option too, e.g. --style 'chopin piano tempo90' or --text 'once'."
    )


def _reconstruct(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="RUN_OR_BUNDLE", help="of a codec, or of a model that has one")
    add("files", nargs="+", metavar="FILE", help="pictures, or sounds of any length")
    add("--level", type=int, metavar="N", help="of a codec of sound, 0 the finest (default: all, for one .wav 0)")
    add("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    add("-o", "--out", default="out", help="folder to write, or OUT.wav for one sound (default: %(default)s)")
    _plugin(parser)


def _tokenize(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--ids", action="store_true", help="print numbers instead of words")
    parser.add_argument("--run", metavar="RUN", help="use this run's or bundle's vocabulary instead of MuseNet's")
    _plugin(parser)


def _detokenize(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="what `tokenize` printed; one piece a line")
    parser.add_argument("-o", "--out", required=True, help="file to write; more lines get numbered names")
    parser.add_argument("--ids", action="store_true", help="the file holds numbers")
    parser.add_argument("--run", metavar="RUN", help="whose vocabulary")
    _plugin(parser)


def _eval(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="RUN_OR_BUNDLE")
    add("--data.path", dest="path", required=True, metavar="DIR", help="folder to evaluate on, all of it")
    add("--data.manifest", dest="manifest", metavar="FILE")
    add("--heldout", action="store_true", help="only the files that a training on DIR would hold out")
    add("--data.held_out", dest="held_out", type=float, metavar="SHARE", help="as in that training (default: 0.05)")
    add("--obedience", type=int, default=0, metavar="N", help="also make N pieces of each label known and judge them")
    add("--seconds", type=float, help="length of each of these pieces (default: 24)")
    add("--seed", type=int, help="of these pieces (default: 0)")
    add("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    add("--dtype", default="fp32", choices=["fp32", "bf16", "int8", "fp64"])
    add("--json", action="store_true", help="print JSON")
    _plugin(parser)


def _features(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="RUN_OR_BUNDLE")
    add("path", metavar="DIR", help="folder of files, all of it")
    add("--layer", required=True, metavar="N|N,N|all", help="before the attention of which layer; one more is the end")
    add("--to", metavar="SLOT", help="of which slot, for models that make several")
    add("--manifest", metavar="FILE", help="CSV or JSONL with columns file, label, text; COCO JSON")
    add("--batch", type=int, default=16, help="sequences at a time (default: %(default)s)")
    add("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    add("-o", "--out", default="features.npz", help="file to write (default: %(default)s)")
    _plugin(parser)


def _classify(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", metavar="RUN_OR_BUNDLE", help="that `helicon train classify DIR --from RUN` has made")
    add("files", nargs="+", metavar="FILE")
    add("--top", type=int, metavar="K", help="labels a file, the likeliest first (default: 3, in JSON all)")
    add("--batch", type=int, default=16, help="sequences at a time (default: %(default)s)")
    add("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    add("--json", action="store_true", help="print JSON")
    _plugin(parser)


def _import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", help="with config.json and model.safetensors")
    parser.add_argument("-o", "--out", required=True, metavar="BUNDLE", help="folder to write")


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="RUN_OR_BUNDLE")
    parser.add_argument("--to", default="hf", choices=["hf", "gguf"], help="transformers' folder, or llama.cpp's file")
    parser.add_argument("-o", "--out", required=True, metavar="FOLDER", help="folder to write, an empty or a new one")
    _plugin(parser)


def _info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="RUN_OR_BUNDLE")
    parser.add_argument("--json", action="store_true")
    _plugin(parser)


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true")


# Command -> (description, function that adds its options, `module:function` that runs it)
COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], str]] = {
    "demo": ("train on a small made-up world and show the result", _demo, "helicon.commands.demo:demo"),
    "train": ("train on a folder of files", _train, "helicon.commands.train:train"),
    "generate": ("make new media", _generate, "helicon.commands.generate:generate"),
    "reconstruct": (
        "show what a codec makes of pictures or sounds",
        _reconstruct,
        "helicon.commands.reconstruct:reconstruct",
    ),
    "tokenize": ("print files as tokens", _tokenize, "helicon.commands.tokens:tokenize"),
    "detokenize": ("make files from printed tokens", _detokenize, "helicon.commands.tokens:detokenize"),
    "eval": ("measure a model on a folder", _eval, "helicon.commands.evaluate:evaluate"),
    "features": ("a layer's mean hidden state for each file", _features, "helicon.commands.features:features"),
    "classify": ("tell which label files have", _classify, "helicon.commands.classify:classify"),
    "import": ("make a bundle of GPT-2 or ImageGPT files", _import, "helicon.commands.importing:import_model"),
    "export": ("a model for transformers or llama.cpp", _export, "helicon.commands.exporting:export"),
    "info": ("what is in a model", _info, "helicon.commands.info:info"),
    "doctor": ("what this machine has", _doctor, "helicon.commands.doctor:doctor"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit status; errors are one line unless HELICON_TRACEBACK is set."""
    if argv is None:
        configure_process()
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        if not args or args[0] in ("-h", "--help", "help"):
            print_text(OVERVIEW)
            return 0
        if args[0] in ("-V", "--version"):
            print_text(f"helicon {helicon.__version__}")
            return 0
        return run(args[0], args[1:])
    except CommandError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:  # the reader of standard output has gone, as with `| head`
        _discard_output()
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.filename == STANDARD_OUTPUT:
            _discard_output()
        if os.environ.get("HELICON_TRACEBACK"):
            raise
        return _fail(error_line(error), 1)


def _discard_output() -> None:
    """Redirect standard output to nowhere: Python would try to flush it again at exit, and fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def configure_process() -> None:
    """Set environment and warnings of the `helicon` process and its children, before PyTorch is imported."""
    os.environ["PYTHONSAFEPATH"] = "1"  # no library imports files of the current folder
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    warnings.formatwarning = _warning


def _warning(message: Warning | str, category: type[Warning], *where: Any, _plain: Any = warnings.formatwarning) -> str:
    """Format a PluginWarning as one line; other warnings as usual."""
    ours = issubclass(category, PluginWarning)
    return f"helicon: {printable(message, MAX_MESSAGE)}\n" if ours else _plain(message, category, *where)


def parser(command: str) -> CommandParser:
    """Make the parser of a command in COMMANDS."""
    line, options, _ = COMMANDS[command]
    command_parser = CommandParser(prog=f"helicon {command}", description=line)
    options(command_parser)
    return command_parser


def run(command: str, args: Sequence[str]) -> int:
    """Parse the options of a command and run it.

    Args:
        command: key of COMMANDS, or one of LIGHTNING.
        args: words after it.

    Returns:
        Exit status.

    Raises:
        CommandError: an unknown command, or a wrong option.
    """
    if command in LIGHTNING:
        return _call("helicon.commands.fit:lightning", command, with_plugins(args))
    if command not in COMMANDS:
        near = get_close_matches(command, [*COMMANDS, *LIGHTNING], n=3, cutoff=0.4)
        advice = f"nearest: {', '.join(near)}" if near else "see helicon --help"
        raise CommandError(f"unknown command {command!r}; {advice}")
    options = parser(command)
    if command in ("generate", "train"):
        parsed, parsed.rest = options.parse_most(args)
    else:
        parsed, rest = options.parse_known_args(list(args))
        if rest:
            options.unrecognised(rest)
    return _call(COMMANDS[command][2], parsed)


def _call(target: str, *args: Any) -> int:
    """Load the plugins that were named, import `module:function` and call it. PyTorch takes seconds to import."""
    module, _, name = target.partition(":")
    if "torch" not in sys.modules and sys.stderr.isatty():
        print("loading PyTorch ...", file=sys.stderr)
    for parsed in args:
        load_plugins(vars(parsed).get("plugin", ()) if isinstance(parsed, argparse.Namespace) else ())
    return getattr(import_module(module), name)(*args) or 0


def error_line(error: Exception) -> str:
    """Format an exception as one line.

    An error in a plugin's code names file and line, one of the operating system its file; an unexpected one its type.
    """
    text = " ".join(str(error).split())
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    if not full and (message := plugin_error_message(error)):
        return message
    if isinstance(error, OSError) and error.filename:
        advice = f"; {'what was there before is intact: ' * os.path.isfile(error.filename)}{FREE_SPACE}" if full else ""
        return f"{error.filename}: {error.strerror}{advice}"
    ours = isinstance(error, (ValueError, RuntimeError)) and text
    return text if ours else f"{type(error).__name__}: {text} (HELICON_TRACEBACK=1 shows where)"


def reason(error: OSError | ValueError) -> str:
    """Return why a file cannot be used, without its name."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _fail(message: str, status: int) -> int:
    """Print an error and return the exit status."""
    print_text(f"helicon: {printable(message, MAX_MESSAGE)}", sys.stderr)
    return status
