"""How fast files become tokens and codes become media, beside what others do the same with.

    python benchmarks/throughput.py PICTURES SOUNDS [--only palette codec sound cache decoding] [--device cuda]

PICTURES and SOUNDS are folders, such as ../shared/data/images/grocery and ../shared/data/audio/spoken_digits. Peers are
of `pip install -e ".[bench]"`. Ratios are ours over the peer's, of medians taken in turns; a ratio above 1 is faster.
Codecs have random weights: time does not depend on them. Takes about five minutes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe, side_by_side
from PIL import Image

from helicon.data.prepare import prepare
from helicon.data.source import DataSource
from helicon.formats.audio import Sound, read_audio
from helicon.formats.image import SUFFIXES, read_image
from helicon.modalities.audio import AUDIO
from helicon.modalities.audio import codes_tokenizer as sound_codes_tokenizer
from helicon.modalities.image import codes_tokenizer as picture_codes_tokenizer
from helicon.tokenizers.mulaw import MulawTokenizer
from helicon.tokenizers.palette import PaletteTokenizer, sample_pixels
from helicon.tokenizers.pixels import pixels_to_tensor, stacked
from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.config import AudioCodecConfig, ImageCodecConfig
from helicon.vqvae.kmeans import nearest
from helicon.vqvae.storage import CodecBundle

Runs = dict[str, Callable[[], object]]
RATE, REPEATS = 8000, 5
PHOTO = (640, 480)  # pixels of a JPEG file of the large folder
PHOTOS, FEW = 4000, 1000  # files in it, and how many of them peers get


def main() -> None:
    """A table each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("sounds", type=Path)
    parser.add_argument("--only", nargs="*", choices=TABLES, default=list(TABLES))
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    print(describe())
    for name in args.only:
        TABLES[name](args)


def show(title: str, unit: str, amounts: float | Mapping[str, float], runs: Runs, ours: Sequence[str] = ()) -> None:
    """A table: ratio of the first run, or of `ours`, to each, and what each does a second. amounts: of a call."""
    seconds = side_by_side(runs, REPEATS)
    amount = amounts if isinstance(amounts, Mapping) else dict.fromkeys(runs, amounts)
    speeds = {name: amount[name] / taken for name, taken in seconds.items()}
    best = max(speeds[name] for name in ours or [next(iter(runs))])
    print(f"\n| {title} | ours / this | {unit} a second |\n|---|---:|---:|")
    for name, speed in speeds.items():
        print(f"| {name} | {best / speed:.2f} | {speed:,.3g} |", flush=True)


def files_in(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Those with one of the suffixes, by name."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)


def palette(args: argparse.Namespace) -> None:
    """Pixels to the nearest of 512 colours, which peers search for in their own ways."""
    from scipy.spatial import KDTree
    from sklearn.cluster import KMeans

    pictures = [read_image(path, 64)[0] for path in files_in(args.pictures, SUFFIXES)[:500]]
    tokenizer = PaletteTokenizer.fit(map(sample_pixels, pictures[::10]), 64)
    centroids_K3 = tokenizer.centroids.astype(np.float64)
    kmeans = KMeans(len(centroids_K3), init=centroids_K3, max_iter=1).fit(centroids_K3)  # type: ignore[arg-type]
    kmeans.cluster_centers_ = centroids_K3
    tree, few = KDTree(centroids_K3), pictures[:20]

    def with_torch(picture: np.ndarray) -> np.ndarray:
        pixels_N3 = torch.from_numpy(picture.reshape(-1, 3)).float() / 127.5 - 1
        return torch.cdist(pixels_N3, torch.from_numpy(tokenizer.centroids)).argmin(1).numpy()

    runs: Runs = {
        "palette": lambda: [tokenizer.encode(picture) for picture in pictures],
        "torch.cdist": lambda: [with_torch(picture) for picture in few],
        "scikit-learn KMeans.predict": lambda: [kmeans.predict(p.reshape(-1, 3) / 127.5 - 1) for p in few],
        "SciPy KDTree.query": lambda: [tree.query(p.reshape(-1, 3) / 127.5 - 1)[1] for p in few],
    }
    pixels = {name: 64 * 64 * (len(pictures) if name == "palette" else len(few)) / 1e6 for name in runs}
    show("pictures of 64 x 64 to 512 colours", "million pixels", pixels, runs)


def codec(args: argparse.Namespace) -> None:
    """Pictures through nets of the same channels, f4: 64 and 128; and the nearest code alone."""
    from diffusers import VQModel  # type: ignore[attr-defined]
    from vector_quantize_pytorch import VectorQuantize

    shape = ImageCodecConfig(factor=4, width=128, blocks=2)
    ours = made(ImageCodec(shape)).to(args.device)
    peer = VQModel(
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3, layers_per_block=1,
        block_out_channels=(32, 64, 128), latent_channels=shape.code_width, num_vq_embeddings=shape.codes,
        norm_num_groups=8, mid_block_add_attention=False,
    ).eval().to(args.device)  # fmt: skip
    pictures = [read_image(path, 64)[0] for path in files_in(args.pictures, SUFFIXES)[:64]]
    media = pixels_to_tensor(stacked(pictures).to(args.device))
    codes_Bhw = ours.encode(media)

    def encoded() -> object:
        latents = peer.encode(media).latents  # type: ignore[union-attr]
        return done(peer.quantize(peer.quant_conv(latents))[2][2])

    def decoded() -> object:
        latents = peer.quantize.embedding(codes_Bhw).permute(0, 3, 1, 2)
        return done(peer.decode(latents, force_not_quantize=True).sample)  # type: ignore[union-attr]

    sizes = [sum(p.numel() for p in net.parameters()) / 1e6 for net in (ours.encoder, peer.encoder)]
    pixels = 64 * 64 * len(pictures) / 1e6
    with torch.inference_mode():
        show(
            f"64 pictures of 64 x 64 to codes, f4; parameters {sizes[0]:.2f} M, diffusers {sizes[1]:.2f} M",
            "million pixels", pixels, {"codec": lambda: done(ours.encode(media)), "diffusers VQModel": encoded},
        )  # fmt: skip
        runs: Runs = {"codec": lambda: done(ours.decode(codes_Bhw)), "diffusers VQModel": decoded}
        show("the same codes to pictures", "million pixels", pixels, runs)
        vq = VectorQuantize(dim=16, codebook_size=512).eval().to(args.device)
        rows_ND = torch.randn(1 << 14, 16, device=args.device)
        codebook_KD = torch.randn(512, 16, device=args.device)
        show("nearest of 512 codes of 16 channels", "million latents", len(rows_ND) / 1e6, {
            "codec": lambda: done(nearest(rows_ND, codebook_KD)),
            "vector-quantize-pytorch": lambda: done(vq(rows_ND[None])[1]),
        })  # fmt: skip


def sound(args: argparse.Namespace) -> None:
    """Files to samples at another rate, samples to levels, sounds to codes."""
    import librosa
    import soundfile
    import soxr

    paths = files_in(args.sounds, AUDIO.suffixes)[:200]
    sounds = [read_audio(path, RATE)[0] for path in paths]
    seconds, slower = sum(sound.seconds for sound in sounds), RATE * 3 // 4

    def bare(path: Path) -> np.ndarray:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return soxr.resample(samples.mean(1), rate, slower)

    show(f"{len(paths)} files to {slower:,} Hz", "seconds of sound", seconds, {
        "read_audio": lambda: [read_audio(path, slower) for path in paths],
        "librosa.load": lambda: [librosa.load(path, sr=slower) for path in paths],
        "soundfile and soxr, unchecked": lambda: list(map(bare, paths)),
    })  # fmt: skip
    tokenizer, long = MulawTokenizer(RATE), Sound(np.concatenate([sound.samples for sound in sounds]), RATE)
    show("samples to 256 levels", "seconds of sound", long.seconds, {
        "mu-law": lambda: tokenizer.encode(long),
        "torchaudio's formula": lambda: mu_law(torch.from_numpy(long.samples[:, 0])),
        "librosa.mu_compress": lambda: librosa.mu_compress(long.samples[:, 0].clip(-1, 1)),
    })  # fmt: skip
    bundle = CodecBundle(
        codec=made(AudioCodec(AudioCodecConfig(hops=(16,), rate=RATE))),
        medium="audio",
        reading={"rate": RATE, "channels": 1},
    )
    codes = sound_codes_tokenizer(bundle).to(args.device)
    show("sounds to codes of hop 16", "seconds of sound", seconds, {
        "all at once": lambda: codes.encode_many(sounds),
        "one by one": lambda: [codes.encode(sound) for sound in sounds],
    })  # fmt: skip


def mu_law(samples: torch.Tensor) -> torch.Tensor:
    """As torchaudio.functional.mu_law_encoding computes it, in float32."""
    mu = torch.tensor(255.0)
    compressed = torch.sign(samples) * torch.log1p(mu * torch.abs(samples)) / torch.log1p(mu)
    return ((compressed + 1) / 2 * mu + 0.5).to(torch.int64)


def cache(args: argparse.Namespace) -> None:
    """Folders to token caches on disk, by one process and by two, beside datasets.map and a loop of Pillow's."""
    with tempfile.TemporaryDirectory() as name:
        large = photographs(Path(name) / "photographs", files_in(args.pictures, SUFFIXES)[:100])
        for title, folder in ((args.pictures.name, args.pictures), (f"JPEG files of {PHOTO[0]} x {PHOTO[1]}", large)):
            caching(f"{title}, to 32 x 32 pixels", folder, SUFFIXES, {"image": "rgb"}, {"size": 32}, of_picture)
        rate = {"rate": RATE}
        caching(f"{args.sounds.name}, to mu-law", args.sounds, AUDIO.suffixes, {"audio": "mulaw"}, rate, of_sound)


def caching(
    title: str, folder: Path, suffixes: Sequence[str], tokenizers: dict[str, str], options: dict[str, int],
    peer: Callable[[Path], np.ndarray],
) -> None:  # fmt: skip
    """A table of one folder."""
    import datasets

    datasets.disable_progress_bars()
    paths = files_in(folder, suffixes)
    few = paths[: max(FEW, len(paths) // 4)]

    def ours(processes: int) -> object:
        with tempfile.TemporaryDirectory() as cache:
            source = DataSource(
                path=folder,
                layouts=(f"{next(iter(tokenizers))}",),
                tokenizers=tokenizers,
                options=options,
                cache=Path(cache),
            )
            return prepare(source, processes=processes)

    def mapped(processes: int | None) -> object:
        with tempfile.TemporaryDirectory() as cache:
            rows = datasets.Dataset.from_dict({"path": list(map(str, few))})
            return rows.map(
                lambda row: {"ids": peer(row["path"])}, num_proc=processes, cache_file_name=f"{cache}/made.arrow",
                remove_columns="path",
            )  # fmt: skip

    def looped() -> object:
        with tempfile.TemporaryDirectory() as cache:
            np.save(f"{cache}/made.npy", np.concatenate(list(map(peer, few))))

    runs: Runs = {f"prepare, processes: {n}": lambda n=n: ours(n) for n in (1, 2)}
    runs |= {f"datasets.map, processes: {n or 1}": lambda n=n: mapped(n) for n in (None, 2)}
    runs["a loop that saves one array, nothing checked"] = looped
    files = {name: len(paths) if name.startswith("prepare") else len(few) for name in runs}
    show(f"{len(paths):,} files of {title}", "files", files, runs, list(runs)[:2])


def of_picture(path: Path | str) -> np.ndarray:
    """uint8 values, as torchvision's folders are read and resized."""
    with open(path, "rb") as file:
        return np.asarray(Image.open(file).convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)).ravel()


def of_sound(path: Path | str) -> np.ndarray:
    """Levels of samples."""
    import librosa

    return librosa.mu_compress(librosa.load(path, sr=RATE)[0].clip(-1, 1)).astype(np.int16)


def photographs(folder: Path, originals: Sequence[Path]) -> Path:
    """A folder of JPEG files of a camera's kind: the originals enlarged, with noise, under many names."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i, path in enumerate(originals):
        pixels = np.asarray(Image.fromarray(read_image(path, 64)[0]).resize(PHOTO, Image.Resampling.BICUBIC))
        noisy = (pixels + rng.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{i:05}.jpg", quality=90)
    for i, path in enumerate(islice(cycle(sorted(folder.iterdir())), PHOTOS - len(originals)), len(originals)):
        os.link(path, folder / f"{i:05}.jpg")
    return folder


def decoding(args: argparse.Namespace) -> None:
    """Codes back to media, all at once and item by item; on a GPU 64 pictures of 256 x 256 and 64 sounds of 10 s."""
    small = args.device == "cpu"
    size, items, seconds = (64, 16, 2) if small else (256, 64, 10)
    rng = np.random.default_rng(0)
    picture_bundle = CodecBundle(
        codec=made(ImageCodec(ImageCodecConfig(factor=8, width=128, blocks=2))), medium="image", reading={"size": size}
    )
    sound_bundle = CodecBundle(
        codec=made(AudioCodec(AudioCodecConfig(hops=(16,), rate=RATE))),
        medium="audio",
        reading={"rate": RATE, "channels": 1},
    )
    pictures = picture_codes_tokenizer(picture_bundle).to(args.device)
    sounds = sound_codes_tokenizer(sound_bundle).to(args.device)
    for tokenizer, length, title in (
        (pictures, (size // 8) ** 2, f"{items} pictures of {size} x {size}, f8"),
        (sounds, seconds * RATE // 16, f"{items} sounds of {seconds} s, hop 16"),
    ):
        codes = list(rng.integers(512, size=(items, length)))
        runs: Runs = {
            "all at once": lambda t=tokenizer, c=codes: t.decode_many(c),
            "one by one": lambda t=tokenizer, c=codes: [t.decode(each) for each in c],
        }
        show(f"codes to {title}", "items", items, runs)


def made(codec: Any) -> Any:
    """The codec with random codebooks, ready to be used."""
    torch.manual_seed(0)
    for name, tensor in codec.named_buffers():
        if name.endswith("codebook"):
            tensor.normal_()
    return codec.eval()


def done(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, once it is there."""
    if tensor.is_cuda:
        torch.cuda.synchronize()
    return tensor


TABLES: dict[str, Callable[[argparse.Namespace], None]] = {
    "palette": palette, "codec": codec, "sound": sound, "cache": cache, "decoding": decoding,
}  # fmt: skip

if __name__ == "__main__":
    main()
