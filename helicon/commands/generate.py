"""`helicon generate`: sample media from a run or a bundle."""

from __future__ import annotations

import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import find_bundle
from helicon.bundle.upsamplers import upsamplers_of
from helicon.cli.commands import parser
from helicon.cli.errors import CommandError
from helicon.commands.outputs import output_folder, report_older, results_in
from helicon.formats import progress
from helicon.formats.printable import print_text
from helicon.formats.quantities import quantity
from helicon.generation.engine import OnStep
from helicon.generation.generate import generate as make
from helicon.generation.item import Item
from helicon.generation.prompts import choose_layout
from helicon.generation.request import Request
from helicon.generation.results import write_results
from helicon.generation.runtime import RuntimeConfig, choose_device, naming_model
from helicon.generation.stream import TokenStream
from helicon.generation.upsampling import generate_levels
from helicon.plugins.loading import words as plugin_words
from helicon.sampling import SamplingOptions
from helicon.sequence.layout import Layout
from helicon.sources.local import local_file
from helicon.tokenizers.sequencer import Sequencer

REPEATED = (  # options that the command on the result page repeats, where they were set
    "prime", "keep", "seconds", "tokens", "to", *SamplingOptions.names(), "device", "dtype",
)  # fmt: skip
REFRESH_S = 0.5  # seconds between updates of the progress line on a terminal


def generate(args: Namespace) -> int:
    """Run `helicon generate` with its parsed options; return the exit status."""
    request = Request(
        count=args.count, seed=args.seed, conditions=slot_values(args.rest), to=args.to,
        prime=local_file(args.prime) if args.prime else None, keep=args.keep, seconds=args.seconds, tokens=args.tokens,
        **{name: getattr(args, name) for name in SamplingOptions.names()},
    )  # fmt: skip
    runtime, out = RuntimeConfig(choose_device(args.device, args.dtype), args.dtype), Path(args.out)
    with output_folder(out):
        before = results_in(out)
        with naming_model(args.model):
            items, model_hash = generate_from_folder(Path(args.model), request, runtime, out, args.stream)
        page = write_results(items, out, request, args.model, model_hash, command_line(args))
        report_older(out, before)
    print_text(f"wrote {len(items)} to {out}; look at {page}", sys.stderr)
    return 0


def generate_from_folder(
    model: Path, request: Request, runtime: RuntimeConfig, out: Path, stream: bool = False
) -> tuple[list[Item], str]:  # fmt: skip
    """Generate items by the model of a folder and its upsamplers, showing progress.

    Args:
        model: folder of a run or bundle.
        request: `Request` of conditions, length and sampling options.
        runtime: `RuntimeConfig` of device and number format.
        out: folder for the levels of a model with upsamplers, which a later call resumes.
        stream: True to print tokens as they are sampled.

    Returns:
        `Item`s in order, and the hexadecimal hash of the model that made them, for an upsampled sound the last
        upsampler.

    Raises:
        RequestError: the model cannot fulfil the request.
    """
    folder = find_bundle(model)
    if not upsamplers_of(folder):
        bundle = runtime.load(folder)
        return generate_with_progress(bundle, request, stream), bundle.hash()
    lines: list[SamplingProgress] = []  # of the current level

    def start_level(bundle: Bundle, layout: Layout, name: str) -> OnStep:
        for previous in lines:
            previous.end()
        lines[:] = [SamplingProgress(bundle, layout.target.name, stream, f"{name}: ")]
        return lines[0].on_step

    result = generate_levels(model, request, runtime, out, start_level)
    for last in lines:
        last.end()
    return result.items, result.model_hash


def generate_with_progress(bundle: Bundle, request: Request, stream: bool = False) -> list[Item]:
    """Generate items by a model in memory, showing progress.

    Args:
        bundle: `Bundle` of the model.
        request: `Request` of conditions, length and sampling options.
        stream: True to print tokens as they are sampled.

    Returns:
        The `Item`s, in order.

    Raises:
        RequestError: the model cannot fulfil the request.
    """
    line = SamplingProgress(bundle, choose_layout(bundle, request).target.name, stream)
    items = make(bundle, request, line.on_step)
    line.end()
    return items


def slot_values(rest: Sequence[str]) -> dict[str, str]:
    """Parse the words that no option took as `--SLOT VALUE` pairs.

    Args:
        rest: words, such as `--text`, `a red apple` or the one word `--text=a red apple`.

    Returns:
        Name of the slot -> value as typed.

    Raises:
        CommandError: words that are no such pairs.
    """
    values, words = {}, list(rest)
    while words:
        name, equals, value = words.pop(0).partition("=")
        if not name.startswith("--") or not (equals or words):
            raise CommandError(
                f"unknown argument {name!r}; slots are given as --SLOT VALUE, see helicon generate --help"
            )
        values[name[2:]] = value if equals else words.pop(0)
    return values


def command_line(args: Namespace) -> str:
    """Return, quoted for a shell, the `helicon generate` command of parsed options with the next seed."""
    parts = ["helicon", "generate", args.model, "-n", str(args.count), "--seed", str(args.seed + 1)]
    for name, value in slot_values(args.rest).items():
        parts += [f"--{name}", value]
    parts += plugin_words()
    options = parser("generate")
    for name in REPEATED:
        value = getattr(args, name)
        for item in [] if value == options.get_default(name) else value if isinstance(value, list) else [value]:
            parts += [f"--{name.replace('_', '-')}", f"{item:g}" if isinstance(item, float) else str(item)]
    return shlex.join(parts)


class SamplingProgress:
    """Progress line of sampling: tokens so far and per second; with `stream` the tokens themselves.

    Args:
        bundle: `Bundle` of the model.
        slot: name of the target slot.
        stream: print each token as it is sampled, after its item's number if there are several.
        name: label at the start of the line.
    """

    def __init__(self, bundle: Bundle, slot: str, stream: bool, name: str = "") -> None:
        self.sequencer: Sequencer = bundle.sequencer
        self.slot, self.name = slot, name
        self.stream = stream
        self.tokens, self.shown = 0, [0]
        self.first: float | None = None  # seconds to the first token (prefill); the rate leaves them out
        self.start = self.printed = time.monotonic()
        self.terminal = progress.stream().isatty()

    def on_step(self, streams: Sequence[TokenStream]) -> None:
        """Update the counts after a decode step; `streams` is a list of one `TokenStream` per item."""
        self.first = self.first or time.monotonic() - self.start
        self.tokens = sum(stream.new_tokens for stream in streams)
        if self.stream:
            words = self.sequencer.tokenizers[self.slot].block.tokens
            self.shown += [0] * (len(streams) - len(self.shown))
            for item, stream in enumerate(streams):
                new = stream.ids[len(stream.request.prompt.prime) + self.shown[item] :].tolist()
                self.shown[item] += len(new)
                for token in new:
                    print_text(f"{item}\t{words[token]}" if len(streams) > 1 else words[token])
        elif self.terminal and time.monotonic() - self.printed > REFRESH_S:
            self.printed = time.monotonic()
            print(f"\r\x1b[K{self._line()}", end="", file=progress.stream(), flush=True)

    def end(self) -> None:
        """Print the final line."""
        print(("\r\x1b[K" if self.terminal else "") + self._line(), file=progress.stream())

    def _line(self) -> str:
        tokens, seconds, first = self.tokens, time.monotonic() - self.start, self.first or 0.0
        speed = f"{tokens / max(seconds - first, 1e-3):,.0f} a second"
        return f"{self.name}{quantity(tokens, 'token')}, the first after {first:.2f} s, then {speed}"
