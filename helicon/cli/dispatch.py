"""Entry point of the command line: dispatch to a command, set-up of the process, and exit statuses."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import helicon
from helicon.cli.commands import COMMANDS, LIGHTNING, parser
from helicon.cli.errors import CommandError, error_line
from helicon.formats.printable import STANDARD_OUTPUT, print_text, printable
from helicon.plugins.loading import PluginWarning, load_plugins
from helicon.plugins.options import with_plugins

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
  helicon import FOLDER -o BUNDLE           GPT-2, nanoGPT and ImageGPT from their files
  helicon export RUN --to hf -o FOLDER      a model of text for transformers, or --to gguf for llama.cpp
  helicon info RUN                          what is in a model
  helicon doctor                            what this machine has, and what would help
  helicon fit --config music --data.path DIR   the same training for Lightning users (validate, test, prepare)

`helicon COMMAND --help` tells more.
"""
MAX_MESSAGE = 2000  # characters of an error or warning: some 25 lines of a terminal
# GOMP_SPINCOUNT: iterations that a thread of GNU's OpenMP waits actively before it sleeps. 5000 are .1 ms; the default
# is several ms, in which a waiting thread keeps a core from the program that the others wait for
SPIN_COUNT = "5000"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; errors are one line unless HELICON_TRACEBACK is set.

    Args:
        argv: words after `helicon`; None for those of this process.

    Returns:
        Exit status: 0, 2 for a wrong command line, 130 if interrupted, 1 for other errors, or what the command returns.
    """
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


def run(command: str, args: Sequence[str]) -> int:
    """Parse the options of a command and run it.

    Args:
        command: key of COMMANDS, or one of LIGHTNING.
        args: words after it.

    Returns:
        Exit status that the command returns.

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
    return _call(COMMANDS[command].target, parsed)


def _call(target: str, *args: Any) -> int:
    """Load the plugins that were named, import `module:function` and call it. PyTorch takes seconds to import."""
    module, _, name = target.partition(":")
    if "torch" not in sys.modules and sys.stderr.isatty():
        print("loading PyTorch ...", file=sys.stderr)
    for parsed in args:
        load_plugins(vars(parsed).get("plugin", ()) if isinstance(parsed, argparse.Namespace) else ())
    return getattr(import_module(module), name)(*args) or 0


def configure_process() -> None:
    """Set environment and warnings of the `helicon` process and its children, before PyTorch is imported."""
    os.environ["PYTHONSAFEPATH"] = "1"  # no library imports files of the current folder
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    warnings.formatwarning = _warning


def _warning(message: Warning | str, category: type[Warning], *where: Any, _plain: Any = warnings.formatwarning) -> str:
    """Format a PluginWarning as one line; other warnings as usual."""
    ours = issubclass(category, PluginWarning)
    return f"helicon: {printable(message, MAX_MESSAGE)}\n" if ours else _plain(message, category, *where)


def _discard_output() -> None:
    """Redirect standard output to nowhere: Python would try to flush it again at exit, and fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, status: int) -> int:
    """Print an error and return the exit status."""
    print_text(f"helicon: {printable(message, MAX_MESSAGE)}", sys.stderr)
    return status
