"""Options of each command, and the table of all commands."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from helicon.cli.command_parser import CommandParser
from helicon.sampling import SamplingOptions

LIGHTNING = ("fit", "validate", "test", "prepare")  # commands of LightningCLI, which parses them itself


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


def parser(command: str) -> CommandParser:
    """Make the parser of a command in COMMANDS."""
    line, options, _ = COMMANDS[command]
    command_parser = CommandParser(prog=f"helicon {command}", description=line)
    options(command_parser)
    return command_parser
