"""`helicon doctor`: what this machine has, and for each thing that is missing one line that says what would help."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import torch

import helicon
from helicon.formats.files import cache_path, json_text
from helicon.formats.printable import print_text
from helicon.formats.private import NAME_ANOTHER, NotPrivateError, private_folder
from helicon.gpt.native.build import compiler
from helicon.gpt.numbers import has_bf16

PACKAGES = (
    "torch", "pytorch-lightning", "jsonargparse", "numpy", "tokenizers", "soundfile", "soxr",
    "safetensors", "matplotlib", "jinja2", "pillow", "pyyaml",
)  # fmt: skip
OPTIONAL = {"symusic": "only tests need it, which compare its reading of MIDI files with ours"}


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what was found, and what to do where that is not all one could wish for."""

    name: str
    found: str
    fix: str = ""


def doctor(args: Namespace) -> int:
    """Runs the command. What is missing is no error: the status is 0."""
    findings = examine(Path("runs"))
    if args.json:
        print_text(json_text([asdict(finding) for finding in findings]))
        return 0
    for finding in findings:
        print_text(f"{finding.name:<18} {finding.found}")
        if finding.fix:
            print_text(f"{'':18} -> {finding.fix}")
    return 0


def examine(runs: Path) -> list[Finding]:
    """All findings; `runs` is the folder that training would write to."""
    parts: tuple[Callable[[], Iterator[Finding]], ...] = (_python, _packages, _devices, _tools)
    return [finding for part in parts for finding in part()] + [_cache(cache_path()), _run_folder(runs)]


def _python() -> Iterator[Finding]:
    yield Finding("helicon", helicon.__version__)
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _packages() -> Iterator[Finding]:
    for name in PACKAGES:
        version = _version(name)
        yield Finding(name, version or "missing", "" if version else f"pip install {name}")
    for name, what in OPTIONAL.items():
        version = _version(name)
        yield Finding(name, version or "not installed", "" if version else f"optional: pip install {name} ({what})")


def _devices() -> Iterator[Finding]:
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    set_by = next((f" (set by {name})" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if os.environ.get(name)), "")
    few = f"unset OMP_NUM_THREADS, or set it to {cores // 2 or 1} or more" if set_by and threads < cores // 2 else ""
    capability = torch.backends.cpu.get_cpu_capability()
    yield Finding("cpu", f"{cores} cores, {threads} threads{set_by}, {capability}", few)
    yield Finding("bf16 on cpu", "computed in hardware" if has_bf16("cpu") else "emulated, slower than fp32", "")
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            device = torch.cuda.get_device_properties(i)
            bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
            yield Finding(f"cuda:{i}", f"{device.name}, {device.total_memory / 2**30:.0f} GiB, {bf16}")
    else:
        cpu_build = torch.version.cuda is None and platform.system() != "Darwin"
        fix = "if there is an NVIDIA GPU: install a CUDA build of torch, see pytorch.org" if cpu_build else ""
        yield Finding("cuda", f"no GPU seen by torch {torch.__version__}", fix)
    if torch.backends.mps.is_available():
        yield Finding("mps", "Apple GPU")


def _tools() -> Iterator[Finding]:
    found = compiler()
    fix = "optional: with one, e.g. apt install gcc or xcode-select --install, a CPU generates several times faster"
    yield Finding("c compiler", " ".join(found) if found else "none", "" if found else fix)


def _cache(folder: Path) -> Finding:
    """The token cache; it may be deleted at any time."""
    fault = unwritable(folder) or _not_private(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    free = shutil.disk_usage(_existing(folder)).free
    found = f"{folder}, {size / 1e6:,.0f} MB used, {free / 1e9:,.0f} GB free"
    fix = NAME_ANOTHER if fault else ""
    return Finding("token cache", f"{found}; {fault}" if fault else found, fix)


def _not_private(folder: Path) -> str:
    """Why a folder that is there is no cache; empty if it is one."""
    try:
        if folder.is_dir():
            private_folder(folder)
        return ""
    except NotPrivateError as error:
        return str(error).removeprefix(f"{folder}: ").partition(";")[0]


def _run_folder(folder: Path) -> Finding:
    fault = unwritable(folder)
    found = f"{folder}; {fault}" if fault else f"{folder}, writable"
    return Finding("runs", found, "--runs FOLDER, or start in a folder of yours" if fault else "")


def unwritable(folder: Path) -> str:
    """Why no file can be made in a folder, or in the one it would be made in; empty if one can."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return ""
    except OSError as error:
        return f"cannot be written to ({error.strerror})"


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next((f for f in (folder.absolute(), *folder.absolute().parents) if f.exists()), Path("/"))


def _version(package: str) -> str | None:
    """Of the metadata, so that nothing has to be imported, which costs seconds for some."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
