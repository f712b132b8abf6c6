"""Options of each command: first those that most people need, then groups of the others."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from helicon.sampling import SamplingOptions


def _sampling_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of SamplingOptions."""
    add = parser.add_argument_group("sampling").add_argument
    kinds = get_type_hints(SamplingOptions)
    for option in fields(SamplingOptions):
        several = get_origin(kinds[option.name]) is Sequence
        kind = next(kind for kind in (get_args(kinds[option.name]) or (kinds[option.name],)) if kind is not NoneType)
        settings: dict[str, Any] = {"action": "append", "default": []} if several else {"default": option.default}
        settings |= {name: option.metadata[name] for name in ("help", "metavar")}
        add(f"--{option.name.replace('_', '-')}", type=kind, **settings)


def _machine(parser: argparse.ArgumentParser, dtype: bool = False) -> None:
    """Add --device, --dtype for some commands, and --plugin."""
    add = parser.add_argument_group("machine and plugins").add_argument
    add("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"], help="where to compute (default: auto)")
    if dtype:
        formats = "number format of weights and arithmetic (default: fp32); int8 quantizes the weights, on a CPU"
        add("--dtype", default="fp32", choices=["fp32", "bf16", "int8", "fp64"], help=formats)
    _plugin(add)


def _plugin(add: Callable[..., Any]) -> None:
    add("--plugin", action="append", default=[], metavar="FILE.py", help="Python file to load and run; repeatable")


def _model(parser: argparse.ArgumentParser, kind: str = "folder of a training, or of a bundle") -> None:
    parser.add_argument("model", metavar="RUN_OR_BUNDLE", help=kind)


def demo_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `helicon demo` to a parser."""
    parser.add_argument("world", choices=["music", "text-to-image", "audio"], help="world of the demo")
    parser.add_argument("-o", "--out", default="demo", help="folder to write (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="training time (default: 1 of music, 6 of pictures, 3 of sounds)")
    pieces = "number of training examples (default: 300 pieces of music, 20000 pictures, 6000 sounds)"
    parser.add_argument("--pieces", type=int, help=pieces)
    parser.add_argument("--seed", type=int, default=0, help="seed of all random choices (default: %(default)s)")


def train_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `helicon train` to a parser."""
    add = parser.add_argument
    add("task", nargs="?", help="music, text, image, audio, image-codec, audio-codec, text-to-image, text-to-audio ...")
    add("path", nargs="?", help="folder of files, searched recursively; or a URL, or hf:USER/DATASET")
    add("--minutes", type=float, help="training time, over which the learning rate falls (default: 10)")
    add("--size", default="auto", help="auto, tiny, small, medium, large or any shape preset (default: auto)")
    add("--from", dest="init_from", metavar="BUNDLE", help="fine-tune this run or bundle")
    add("--resume", metavar="RUN", help="go on with a run that was stopped")
    add("--name", help="folder of the run below --runs (default: TASK-N)")
    add = parser.add_argument_group("data").add_argument
    add("--manifest", metavar="FILE", help="CSV or JSONL with columns file, label, text; or COCO JSON")
    add("--layout", action="append", metavar="LAYOUT", help="instead of a task, such as 'text[32] music'; repeatable")
    add = parser.add_argument_group("training").add_argument
    add("--steps", type=int, metavar="N", help="optimizer steps of each stage; without --minutes the only limit")
    add("--seed", type=int, help="seed of batches and noise (default: 0)")
    add("--levels", type=int, default=1, metavar="N", help="of sound: a model of the coarsest level, N - 1 upsamplers")
    add("--for", dest="upsampler_of", metavar="RUN", help="run of sound to train an upsampler for")
    add = parser.add_argument_group("runs and plugins").add_argument
    add("--runs", help="folder of all runs (default: runs)")
    add("--repeat", metavar="RUN", help="make a run once more, the same step by step, as a new run")
    _plugin(add)
    parser.epilog = """\
Every option of `helicon fit` may follow, such as --data.val_split 0.1, --model.dropout 0.2 or --trainer.devices 2;
`helicon fit --help` lists them."""


def generate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `helicon generate` to a parser."""
    add = parser.add_argument
    _model(parser)
    add("-n", "--count", type=int, default=1, help="number of items (default: %(default)s)")
    add("-o", "--out", default="out", help="folder to write (default: %(default)s)")
    add("--seed", type=int, default=0, help="item i is a function of (seed, i) (default: %(default)s)")
    add("--prime", metavar="FILE", help="file to continue")
    add("--keep", metavar="8s|0.5", help="beginning of that file to keep: seconds, or a share (default: all)")
    add("--seconds", type=float, help="exact length, the prime included")
    add = parser.add_argument_group("output").add_argument
    add("--tokens", type=int, help="maximum number of new tokens")
    add("--to", metavar="SLOT", help="slot to generate, of a model with several layouts")
    add("--stream", action="store_true", help="print tokens as they are sampled")
    _sampling_options(parser)
    _machine(parser, dtype=True)
    parser.epilog = """\
Each slot of the model's layouts is an option, such as --style 'chopin piano tempo90' or --text 'a red apple'."""


def reconstruct_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `helicon reconstruct` to a parser."""
    add = parser.add_argument
    _model(parser, "run or bundle of a codec, or of a model that has one")
    add("files", nargs="+", metavar="FILE", help="pictures, or sounds of any length")
    add("-o", "--out", default="out", help="folder to write, or OUT.wav for one sound (default: %(default)s)")
    add("--level", type=int, metavar="N", help="of a codec of sound, 0 the finest (default: all, for one .wav 0)")
    _machine(parser)


def tokenize_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `helicon tokenize` to a parser."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="file of any medium")
    parser.add_argument("--run", metavar="RUN", help="run or bundle whose vocabulary to use (default: MuseNet's)")
    parser.add_argument("--ids", action="store_true", help="print numbers instead of words")
    _plugin(parser.add_argument)


def detokenize_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `helicon detokenize` to a parser."""
    parser.add_argument("file", metavar="FILE", help="output of `helicon tokenize`; one piece a line")
    parser.add_argument("-o", "--out", required=True, help="file to write; further lines get numbered names")
    parser.add_argument("--run", metavar="RUN", help="run or bundle whose vocabulary it is (default: MuseNet's)")
    parser.add_argument("--ids", action="store_true", help="the file has numbers instead of words")
    _plugin(parser.add_argument)


def eval_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `helicon eval` to a parser."""
    add = parser.add_argument
    _model(parser)
    add("--data.path", dest="path", required=True, metavar="DIR", help="folder of files to measure the loss on")
    add("--validation", action="store_true", help="only the files that a training on DIR keeps for validation")
    add("--json", action="store_true", help="print JSON")
    add = parser.add_argument_group("data").add_argument
    add("--data.manifest", dest="manifest", metavar="FILE", help="CSV or JSONL with columns file, label, text")
    add(
        "--data.val_split",
        dest="val_split",
        type=float,
        metavar="SHARE",
        help="other files (default: those not trained on)",
    )
    add("--data.encoding", dest="encoding", metavar="NAME", help="of texts, such as cp1252 (default: estimated)")
    add("--data.separator", dest="separator", metavar="TEXT", help="between documents, beside <|endoftext|>")
    lines = "whether text files beside other media have a caption a line (default: as most look)"
    add("--data.captions", dest="captions", choices=["lines", "whole"], help=lines)
    add = parser.add_argument_group("controllability").add_argument
    add("--controllability", type=int, default=0, metavar="N", help="sample N pieces of each label, and classify them")
    add("--seconds", type=float, help="length of each of these pieces (default: 24)")
    add("--seed", type=int, help="seed of these pieces (default: 0)")
    _machine(parser, dtype=True)


def features_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `helicon features` to a parser."""
    add = parser.add_argument
    _model(parser)
    add("path", metavar="DIR", help="folder of files, searched recursively")
    add("--layer", required=True, metavar="N|N,N|all", help="input of layer N; the number of layers is the last output")
    add("-o", "--out", default="features.npz", help="file to write (default: %(default)s)")
    add("--manifest", metavar="FILE", help="CSV or JSONL with columns file, label, text; or COCO JSON")
    add("--to", metavar="SLOT", help="slot whose tokens are averaged, of a model with several layouts")
    add("--batch", type=int, default=16, help="sequences at a time (default: %(default)s)")
    _machine(parser)


def classify_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `helicon classify` to a parser."""
    add = parser.add_argument
    _model(parser, "output of `helicon train classify DIR --from RUN`")
    add("files", nargs="+", metavar="FILE", help="file of the medium it was trained on")
    add("--top", type=int, metavar="K", help="most probable labels of each file (default: 3, in JSON all)")
    add("--json", action="store_true", help="print JSON")
    add("--batch", type=int, default=16, help="sequences at a time (default: %(default)s)")
    _machine(parser)


def import_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `helicon import` to a parser."""
    parser.add_argument("folder", metavar="FOLDER", help="with config.json and model.safetensors, or nanoGPT's ckpt.pt")
    parser.add_argument("-o", "--out", required=True, metavar="BUNDLE", help="folder to write")


def export_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `helicon export` to a parser."""
    _model(parser)
    parser.add_argument("-o", "--out", required=True, metavar="FOLDER", help="folder to write, an empty or a new one")
    formats = "hf: folder for transformers; gguf: file for llama.cpp (default: %(default)s)"
    parser.add_argument("--to", default="hf", choices=["hf", "gguf"], help=formats)
    _plugin(parser.add_argument)


def info_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `helicon info` to a parser."""
    _model(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    _plugin(parser.add_argument)


def doctor_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `helicon doctor` to a parser."""
    parser.add_argument("--json", action="store_true", help="print JSON")
