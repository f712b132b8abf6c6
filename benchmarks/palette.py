"""Palettes of pictures: error of the fit, speed and memory of encoding, beside scikit-learn and a matrix of distances.

    python benchmarks/palette.py FOLDER_OF_PICTURES [--pictures 1000] [--size 64] [--colours 512] [--pixels 300]

Encoding runs on one thread, the peers on as many as they like (OMP_NUM_THREADS=1: on one too). Takes minutes, most of
them in scikit-learn's fit.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from helicon.formats.image import SUFFIXES, read_image
from helicon.tokenizers.clusters import NearestTable, pack, unpack
from helicon.tokenizers.palette import PaletteTokenizer, sample_pixels

REPEATS = 5
LARGE, PEER_PICTURES = 256, 20  # pixels each way of the pictures that memory is measured with; as many do for peers
Made = TypeVar("Made")
RSS_BYTES = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss


def main() -> None:
    """Measures memory, fits, encodes; a table each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--colours", type=int, default=512)
    parser.add_argument("--pixels", type=int, default=300, help="of each picture, to fit to")
    parser.add_argument("--peak", choices=ENCODERS, help=argparse.SUPPRESS)  # measured in a process of its own
    args = parser.parse_args()
    paths = sorted(path for path in args.folder.rglob("*") if path.suffix.lower() in SUFFIXES)[: args.pictures]
    if args.peak:
        print(peak_bytes(args.peak, paths, args))
        return
    print(f"numpy {np.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads for the peers\n")
    print_memory(args)
    pictures = [read_image(path, args.size)[0] for path in paths]
    print_encoding(print_fit(pictures, args), pictures)


def print_fit(pictures: list[np.ndarray], args: argparse.Namespace) -> PaletteTokenizer:
    """Squared error over that of scikit-learn's k-means, of one start, on the same pixels."""
    from sklearn.cluster import KMeans

    pixels_N3 = np.concatenate([sample_pixels(picture, args.pixels) for picture in pictures])
    peer = KMeans(args.colours, n_init=1, random_state=0)  # type: ignore[arg-type]
    tokenizer, seconds = timed(lambda: PaletteTokenizer.fit([pixels_N3], args.size, args.colours))
    _, peer_seconds = timed(lambda: peer.fit(pixels_N3 / 127.5 - 1))
    nearest_N3 = tokenizer.centroids[defined(pixels_N3, tokenizer.centroids)].astype(np.float64)
    ratio = ((pixels_N3 / 127.5 - 1 - nearest_N3) ** 2).sum() / peer.inertia_
    print(f"| fit of {args.colours} colours, {len(pixels_N3):,} pixels | error / scikit-learn's | s |\n|---|---:|---:|")
    print(f"| palette | {ratio:.4f} | {seconds:.1f} |\n| scikit-learn | 1 | {peer_seconds:.1f} |\n", flush=True)
    return tokenizer


def print_encoding(tokenizer: PaletteTokenizer, pictures: list[np.ndarray]) -> None:
    """Million pixels a second, medians taken in turns, and pixels that are not what the definition says."""
    pixels_N3 = np.concatenate(pictures).reshape(-1, 3)
    expected_N = defined(pixels_N3, tokenizer.centroids)
    encoders = {name: make(tokenizer) for name, make in ENCODERS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    wrong: dict[str, int] = {}
    for _ in range(REPEATS + 1):  # the first fills the table
        for name, encode in encoders.items():
            ids, spent = timed(lambda encode=encode: [encode(picture) for picture in pictures])
            seconds[name].append(spent)
            wrong[name] = int((np.concatenate(ids) != expected_N).sum())
    print(
        f"| {len(pictures)} pictures, {len(pixels_N3):,} pixels | Mpixel/s | at first | wrong |\n|---|---:|---:|---:|"
    )
    for name, (first, *later) in seconds.items():
        speeds = " | ".join(f"{len(pixels_N3) / 1e6 / spent:.1f}" for spent in (statistics.median(later), first))
        print(f"| {name} | {speeds} | {wrong[name]} |", flush=True)
    colours = unpack(np.arange(1 << 24))
    whole = [timed(lambda: NearestTable(tokenizer.centroids)(colours))[1] for _ in range(REPEATS)]
    print(f"\nnearest centroids of all 256^3 colours: {statistics.median(whole):.2f} s")


def print_memory(args: argparse.Namespace) -> None:
    """A fresh process each, since peak memory never falls; first of all, since Linux counts what its parent had."""
    print(f"| encoding pictures of {LARGE} x {LARGE} | pictures | MB above what was there before |\n|---|---:|---:|")
    for name in ENCODERS:
        pictures = args.pictures if name == "palette" else PEER_PICTURES
        options = ["--peak", name, "--pictures", str(pictures), "--colours", str(args.colours)]
        command = [sys.executable, __file__, str(args.folder), *options]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"| {name} | {pictures} | {int(done.stdout) / 1e6:.0f} |", flush=True)
    print()


def peak_bytes(name: str, paths: list[Path], args: argparse.Namespace) -> int:
    """Peak memory of encoding pictures one by one, above that of reading them; files are taken again if too few."""
    tokenizer = PaletteTokenizer(np.random.default_rng(0).uniform(-1, 1, (args.colours, 3)), LARGE)
    encode = ENCODERS[name](tokenizer)
    encode_small = ENCODERS[name](PaletteTokenizer(tokenizer.centroids[:1], 1))
    encode_small(np.zeros((1, 1, 3), np.uint8))  # what libraries allocate once
    before = 0
    for path in islice(cycle(paths), args.pictures):
        picture, _ = read_image(path, LARGE)
        before = before or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        encode(picture)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * RSS_BYTES


def by_matrix(tokenizer: PaletteTokenizer, picture: np.ndarray) -> np.ndarray:
    """The matrix of distances of all pixels to all centroids."""
    pixels_N3 = torch.from_numpy(picture.reshape(-1, 3)).float() / 127.5 - 1
    return torch.cdist(pixels_N3, torch.from_numpy(tokenizer.centroids)).argmin(1).numpy()


def by_scikit_learn(tokenizer: PaletteTokenizer, picture: np.ndarray) -> np.ndarray:
    """The matrix again, a part of it at a time."""
    from sklearn.metrics import pairwise_distances_argmin

    return pairwise_distances_argmin(picture.reshape(-1, 3) / 127.5 - 1, tokenizer.centroids.astype(np.float64))


ENCODERS: dict[str, Callable[[PaletteTokenizer], Callable[[np.ndarray], np.ndarray]]] = {
    "palette": lambda tokenizer: tokenizer.encode,
    "torch.cdist": lambda tokenizer: partial(by_matrix, tokenizer),
    "scikit-learn": lambda tokenizer: partial(by_scikit_learn, tokenizer),
}


def defined(pixels_N3: np.ndarray, centroids_K3: np.ndarray) -> np.ndarray:
    """int64 [N]: the first centroid at the least squared distance, in float64, by brute force on each colour."""
    codes, index_N = np.unique(pack(pixels_N3), return_inverse=True)
    colours, centroids_K3 = unpack(codes) / 127.5 - 1, centroids_K3.astype(np.float64)
    nearest = np.empty(len(colours), np.int64)
    for i in range(0, len(colours), 128):
        red, green, blue = (
            (x[:, None] - c_K) ** 2 for x, c_K in zip(colours[i : i + 128].T, centroids_K3.T, strict=True)
        )
        nearest[i : i + 128] = (red + green + blue).argmin(1)
    return nearest[index_N]


def timed(work: Callable[[], Made]) -> tuple[Made, float]:
    """What it gives, and wall time in seconds."""
    start = time.perf_counter()
    made = work()
    return made, time.perf_counter() - start


if __name__ == "__main__":
    main()
