"""Files that a file of the user's passes on its way to the first forward pass of `helicon train`.

`python benchmarks/path_to_first_step.py TASK DIR [OPTION ...]` runs `helicon train TASK DIR` up to the first call of
GPT.forward (or a codec's), and prints each file of the package with a function that ran, by `sys.setprofile` in every
thread, how often a LightningCLI was made, and how often options were parsed. Work of loader processes is done in this
one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections import Counter
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import FrameType
from typing import Any

import helicon
from helicon import cli

PACKAGE = Path(helicon.__file__).parent


class FirstStep(BaseException):
    """Raised at the first forward pass, past every `except Exception`."""


def main() -> None:
    """Prints the files, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("folder")
    parser.add_argument("--stages", type=int, default=1, help="go on to the first forward pass of the N-th stage")
    args, rest = parser.parse_known_args()
    files, commands, parses = trace(["train", args.task, args.folder, *rest], args.stages)
    for name in sorted(files):
        print(name)
    print(f"{len(files)} files, {commands} LightningCLI, options parsed {parses} times")


def trace(words: list[str], stages: int = 1) -> tuple[set[str], int, int]:
    """Files of the package whose functions run before the first forward pass, LightningCLI objects made, and parses.

    Args:
        words: of a command line, without `helicon`.
        stages: how many trainings begin before it ends; each but the last is cut to one step.
    """
    from jsonargparse import ArgumentParser
    from pytorch_lightning.cli import LightningCLI

    from helicon.gpt.model import GPT
    from helicon.vqvae.codec import ImageCodec

    files: set[str] = set()
    counts: Counter[str] = Counter()

    others: set[str] = set()

    def seen(frame: FrameType, event: str, arg: Any) -> None:
        name = frame.f_code.co_filename
        if event != "call" or name in others or name in files or not frame.f_code.co_flags & CO_OPTIMIZED:
            return  # a class or module body is no function
        if not name.startswith(str(PACKAGE)):
            others.add(name)
        elif not imports(frame):
            files.add(name)

    def count(owner: type, *names: str) -> None:
        """Has calls of methods counted."""
        for name in names:
            method = getattr(owner, name)

            def counted(*args: Any, method: Any = method, name: str = name, **kwargs: Any) -> Any:
                counts[name] += 1
                return method(*args, **kwargs)

            setattr(owner, name, counted)

    def stop(*args: Any, **kwargs: Any) -> None:
        raise FirstStep

    count(LightningCLI, "__init__")
    count(ArgumentParser, "parse_args", "parse_object")
    GPT.forward = stop  # type: ignore[method-assign]
    if stages == 1:
        ImageCodec.forward = stop  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        threading.setprofile(seen)
        sys.setprofile(seen)
        try:
            cli.main([*words, "--runs", f"{folder}/runs", "--data.cache", f"{folder}/cache"])
        except FirstStep:
            pass
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
    parses = counts["parse_args"] + counts["parse_object"]
    return {str(Path(name).relative_to(PACKAGE)) for name in files}, counts["__init__"], parses


def imports(frame: FrameType | None) -> bool:
    """True for what runs as a module of the package is imported."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(str(PACKAGE)):
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    main()
