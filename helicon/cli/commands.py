"""Table of all commands, and their parsers."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from helicon.cli import options
from helicon.cli.command_parser import CommandParser

LIGHTNING = ("fit", "validate", "test", "prepare")  # commands of LightningCLI, which parses them itself


@dataclass(frozen=True)
class Command:
    """Command of the command line.

    Attributes:
        summary: description, one line.
        example: command line that shows it.
        add_options: function of an `ArgumentParser` that adds the options to it.
        target: `module:function` that runs it.
    """

    summary: str
    example: str
    add_options: Callable[[argparse.ArgumentParser], None]
    target: str


_COMMANDS = "helicon.commands"  # package of the modules that run commands
COMMANDS = {
    "demo": Command(
        "train a model on a small world of generated files, and show samples",
        "helicon demo music -o demo",
        options.demo_options, f"{_COMMANDS}.demo:demo",
    ),
    "train": Command(
        "train a model on a folder of files",
        "helicon train music ~/midi --minutes 30",
        options.train_options, f"{_COMMANDS}.train:train",
    ),
    "generate": Command(
        "sample new media from a model",
        "helicon generate runs/music-1 -n 4 --seed 7 -o out",
        options.generate_options, f"{_COMMANDS}.generate:generate",
    ),
    "reconstruct": Command(
        "encode pictures or sounds by a codec, and decode them again",
        "helicon reconstruct runs/image-codec-1 picture.png -o out",
        options.reconstruct_options, f"{_COMMANDS}.reconstruct:reconstruct",
    ),
    "tokenize": Command(
        "print files as tokens",
        "helicon tokenize song.mid",
        options.tokenize_options, f"{_COMMANDS}.tokens:tokenize",
    ),
    "detokenize": Command(
        "write files from printed tokens",
        "helicon detokenize song.tokens -o song.mid",
        options.detokenize_options, f"{_COMMANDS}.tokens:detokenize",
    ),
    "eval": Command(
        "measure the loss of a model on a folder of files",
        "helicon eval runs/music-1 --data.path ~/test",
        options.eval_options, f"{_COMMANDS}.evaluate:evaluate",
    ),
    "features": Command(
        "write a layer's mean hidden state for each file",
        "helicon features runs/image-1 ~/pictures --layer 8 -o features.npz",
        options.features_options, f"{_COMMANDS}.features:features",
    ),
    "classify": Command(
        "print the most probable labels of files",
        "helicon classify runs/classify-1 song.mid",
        options.classify_options, f"{_COMMANDS}.classify:classify",
    ),
    "import": Command(
        "make a bundle of GPT-2, nanoGPT or ImageGPT weights",
        "helicon import FOLDER -o gpt2",
        options.import_options, f"{_COMMANDS}.importing:import_model",
    ),
    "export": Command(
        "write a model for transformers or llama.cpp",
        "helicon export runs/text-1 --to gguf -o FOLDER",
        options.export_options, f"{_COMMANDS}.exporting:export",
    ),
    "info": Command(
        "show a model's layouts, vocabulary, shape and training",
        "helicon info runs/music-1",
        options.info_options, f"{_COMMANDS}.info:info",
    ),
    "doctor": Command(
        "show what this machine has, and what would make it faster",
        "helicon doctor",
        options.doctor_options, f"{_COMMANDS}.doctor:doctor",
    ),
}  # fmt: skip


def parser(name: str) -> CommandParser:
    """Make the `CommandParser` of a command, a key of COMMANDS; its help ends with an example."""
    command = COMMANDS[name]
    command_parser = CommandParser(
        prog=f"helicon {name}", description=command.summary, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_options(command_parser)
    notes = [command_parser.epilog] if command_parser.epilog else []
    command_parser.epilog = "\n\n".join([*notes, f"example: {command.example}"])
    return command_parser
