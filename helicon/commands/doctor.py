"""`helicon doctor`: versions, devices and folders of this machine, with a line of advice for each that is missing."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch

import helicon
from helicon.formats.files import cache_path, json_text
from helicon.formats.notebook import html_table
from helicon.formats.printable import print_text
from helicon.formats.private import NAME_ANOTHER, NotPrivateError, private_folder
from helicon.gpt.native.build import compiler
from helicon.gpt.numbers import has_bf16

PACKAGES = (  # that every install needs, by their names on the package index
    "torch", "pytorch-lightning", "jsonargparse", "numpy", "tokenizers", "soundfile", "soxr",
    "safetensors", "matplotlib", "jinja2", "pillow", "pyyaml",
)  # fmt: skip
OPTIONAL = {"symusic": "only tests need it, which compare its reading of MIDI files with ours"}


@dataclass(frozen=True)
class Finding:
    """Result of a check of this machine.

    Attributes:
        name: what was checked.
        result: version, size or fault, in words.
        fix: advice; empty where all is well.
    """

    name: str
    result: str
    fix: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the texts `name`, `found` (the result) and `fix`, as `helicon doctor --json` prints them."""
        return {"name": self.name, "found": self.result, "fix": self.fix}


class Findings(list[Finding]):
    """List of `Finding`s, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return html_table(("", "found", "advice"), [(finding.name, finding.result, finding.fix) for finding in self])


def doctor(args: Namespace) -> int:
    """Run `helicon doctor` with its parsed options; return 0 always: something missing is no error."""
    findings = examine(Path("runs"))
    if args.json:
        print_text(json_text([finding.as_json() for finding in findings]))
        return 0
    for finding in findings:
        print_text(f"{finding.name:<18} {finding.result}")
        if finding.fix:
            print_text(f"{'':18} -> {finding.fix}")
    return 0


def examine(runs: Path) -> Findings:
    """Run all checks, a `Finding` each; `runs` is the path of the folder that trainings would write to."""
    parts: tuple[Callable[[], Iterator[Finding]], ...] = (_python, _packages, _devices, _tools)
    return Findings([*(finding for part in parts for finding in part()), _cache(cache_path()), _run_folder(runs)])


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
    command = compiler()
    fix = "optional: with one, e.g. apt install gcc or xcode-select --install, a CPU generates several times faster"
    yield Finding("c compiler", " ".join(command) if command else "none", "" if command else fix)


def _cache(folder: Path) -> Finding:
    """Check the token cache, which may be deleted at any time."""
    fault = unwritable(folder) or _not_private(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    free = shutil.disk_usage(_existing(folder)).free
    result = f"{folder}, {size / 1e6:,.0f} MB used, {free / 1e9:,.0f} GB free"
    fix = NAME_ANOTHER if fault else ""
    return Finding("token cache", f"{result}; {fault}" if fault else result, fix)


def _not_private(folder: Path) -> str:
    """Return why an existing folder cannot be a cache; empty where it can."""
    try:
        if folder.is_dir():
            private_folder(folder)
        return ""
    except NotPrivateError as error:
        return str(error).removeprefix(f"{folder}: ").partition(";")[0]


def _run_folder(folder: Path) -> Finding:
    fault = unwritable(folder)
    result = f"{folder}; {fault}" if fault else f"{folder}, writable"
    return Finding("runs", result, "--runs FOLDER, or start in a folder of yours" if fault else "")


def unwritable(folder: Path) -> str:
    """Return the reason, as text, why no file can be created in a folder (it may not exist yet); '' where one can."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return ""
    except OSError as error:
        return f"cannot be written to ({error.strerror})"


def _existing(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next((f for f in (folder.absolute(), *folder.absolute().parents) if f.exists()), Path("/"))


def _version(package: str) -> str | None:
    """Return the version of a package; None without it. Metadata is read, since some imports take seconds."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
