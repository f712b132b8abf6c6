"""`helicon generate`: media from a run or a bundle."""

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
from helicon.cli import CommandError, parser
from helicon.commands.outputs import output_folder, results_in, say_older
from helicon.formats import progress
from helicon.formats.printable import print_text
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
from helicon.tokenizers.sequencer import Sequencer

REPEATED = (  # by a command to go on with, where they were given
    "prime", "keep", "seconds", "tokens", "to", *SamplingOptions.names(), "device", "dtype",
)  # fmt: skip


def generate(args: Namespace) -> int:
    """Runs the command."""
    request = Request(
        count=args.count, seed=args.seed, conditions=slot_values(args.rest), to=args.to,
        prime=Path(args.prime) if args.prime else None, keep=args.keep, seconds=args.seconds, tokens=args.tokens,
        **{name: getattr(args, name) for name in SamplingOptions.names()},
    )  # fmt: skip
    where, out = RuntimeConfig(choose_device(args.device, args.dtype), args.dtype), Path(args.out)
    with output_folder(out):
        before = results_in(out)
        with naming_model(args.model):
            items, model_hash = made(Path(args.model), request, where, out, args.stream)
        page = write_results(items, out, request, args.model, model_hash, command_line(args))
        say_older(out, before)
    print_text(f"wrote {len(items)} to {out}; look at {page}", sys.stderr)
    return 0


def made(
    model: Path, request: Request, where: RuntimeConfig, out: Path, stream: bool = False
) -> tuple[list[Item], str]:  # fmt: skip
    """Items, and the hash of the model that made them. stream: whether tokens are printed as they come."""
    folder = find_bundle(model)
    if not upsamplers_of(folder):
        bundle = where.load(folder)
        return watched(bundle, request, stream), bundle.hash()
    watches: list[Watch] = []

    def level(bundle: Bundle, layout: Layout, name: str) -> OnStep:
        for before in watches:
            before.end()
        watches[:] = [Watch(bundle, layout.target.name, stream, f"{name}: ")]
        return watches[0].on_step

    found = generate_levels(model, request, where, out, level)
    for last in watches:
        last.end()
    return found.items, found.model_hash


def watched(bundle: Bundle, request: Request, stream: bool = False) -> list[Item]:
    """Items of a model in memory; tells how it goes."""
    watch = Watch(bundle, choose_layout(bundle, request).target.name, stream)
    items = make(bundle, request, watch.on_step)
    watch.end()
    return items


def slot_values(rest: Sequence[str]) -> dict[str, str]:
    """`--SLOT VALUE` pairs, which no other option took."""
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
    """The command with its next seed, to go on with."""
    parts = ["helicon", "generate", args.model, "-n", str(args.count), "--seed", str(args.seed + 1)]
    for name, value in slot_values(args.rest).items():
        parts += [f"--{name}", value]
    parts += plugin_words()
    options = parser("generate")
    for name in REPEATED:
        value = getattr(args, name)
        for each in [] if value == options.get_default(name) else value if isinstance(value, list) else [value]:
            parts += [f"--{name.replace('_', '-')}", f"{each:g}" if isinstance(each, float) else str(each)]
    return shlex.join(parts)


class Watch:
    """Tells how the sampling goes: tokens, tokens a second; with --stream the tokens themselves."""

    def __init__(self, bundle: Bundle, slot: str, stream: bool, name: str = "") -> None:
        self.sequencer: Sequencer = bundle.sequencer
        self.slot, self.name = slot, name
        self.stream = stream
        self.tokens, self.shown = 0, [0]
        self.first: float | None = None  # seconds until the first token, which a long prompt takes
        self.start = self.printed = time.monotonic()
        self.terminal = progress.stream().isatty()

    def on_step(self, streams: Sequence[TokenStream]) -> None:
        """Counts; prints words of the tokens that each item has since."""
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
        elif self.terminal and time.monotonic() - self.printed > 0.5:
            self.printed = time.monotonic()
            print(f"\r\x1b[K{self._line()}", end="", file=progress.stream(), flush=True)

    def end(self) -> None:
        """The last line."""
        print(("\r\x1b[K" if self.terminal else "") + self._line(), file=progress.stream())

    def _line(self) -> str:
        tokens, seconds, first = self.tokens, time.monotonic() - self.start, self.first or 0.0
        speed = f"{tokens / max(seconds - first, 1e-3):,.0f} a second"
        return f"{self.name}{tokens:,} tokens, the first after {first:.2f} s, then {speed}"
