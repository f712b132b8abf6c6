"""Spoken digits: what a codec keeps of them, whether a model says what captions ask, and whether it hears what is said.

python benchmarks/digits.py judges [--data DIR]           how often the judges are right, by cross-validation
python benchmarks/digits.py codec RUN [--level N]         held-out takes through a codec and back
python benchmarks/digits.py text RUN [--samples 100]      takes made for captions such as `seven, spoken by jackson`
python benchmarks/digits.py hear RUN                      captions written for held-out takes

DIR has takes such as 7_jackson_12.wav, each with a caption beside it. The judges are logistic regressions on cepstra of
mel bands (Davis and Mermelstein, 1980), trained on the takes that RUN did not hold out. They need scikit-learn, `codec`
pystoi too.

Shapes: S samples, F frames, K frequencies, M mel bands, Q cepstra.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from tqdm import tqdm

from helicon.bundle.storage import load_bundle
from helicon.data.files import split
from helicon.evaluation.losses import codebook_figures
from helicon.formats.audio import Sound, read_audio
from helicon.formats.spectra import mel_distance, si_sdr
from helicon.generation.generate import generate
from helicon.generation.request import Request
from helicon.modalities import registry

FOLDER = Path("../shared/data/audio/spoken_digits")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# What follows was chosen on takes to train on, by judges of the others: as they are, and through a poor codec
WINDOW_S, HOP_S = 0.025, 0.010
BANDS, CEPSTRA, TOP_HZ = 26, 20, 4000.0
FLOOR = 0.1  # of the mean energy: what is fainter in a band, such as hiss, tells little of a voice
SILENCE_DB = 25.0  # below the loudest frame
PARTS, FRAMES = 20, 40
STRENGTH = 0.05  # C of the logistic regressions


def held(names: Sequence[str], fraction: float) -> list[bool]:
    """Which takes a training on their folder holds out: by a hash of the paths from the root, without suffixes."""
    return split(names, fraction)


def mfcc(samples: np.ndarray, rate: int) -> np.ndarray:
    """Features [PARTS * Q + 2 * Q] of a clip [S], whatever its loudness and length.

    Cepstra, silence at both ends left out: means of equal parts in time, spreads, and spreads of their slopes.
    """
    window, hop = round(WINDOW_S * rate), round(HOP_S * rate)
    padded_S = np.pad(trimmed(np.asarray(samples, np.float64), hop), (window // 2, 2 * window))
    frames_FS = np.lib.stride_tricks.sliding_window_view(padded_S, window)[::hop] * np.hanning(window)
    size = 2 ** (window - 1).bit_length()
    energy_FM = np.abs(np.fft.rfft(frames_FS, size)) ** 2 @ mel_filters(rate, size).T
    loud_FM = np.log(energy_FM / max(energy_FM.mean(), 1e-12) + FLOOR)
    order_Q, band_M = np.arange(CEPSTRA)[:, None], np.arange(BANDS) + 0.5
    cepstra_FQ = loud_FM @ np.cos(np.pi / BANDS * order_Q * band_M).T * np.sqrt(2 / BANDS)
    at = np.linspace(0, len(cepstra_FQ) - 1, FRAMES)
    even_FQ = np.stack([np.interp(at, np.arange(len(cepstra_FQ)), column) for column in cepstra_FQ.T], 1)
    parts = even_FQ.reshape(PARTS, -1, CEPSTRA).mean(1)
    return np.concatenate([parts.ravel(), cepstra_FQ.std(0), np.gradient(cepstra_FQ, axis=0).std(0)])


def trimmed(samples_S: np.ndarray, hop: int) -> np.ndarray:
    """A clip from its first to its last frame that is not silent."""
    energy_F = (np.pad(samples_S, (0, -len(samples_S) % hop)).reshape(-1, hop) ** 2).mean(1)
    heard = np.flatnonzero(energy_F > energy_F.max(initial=0.0) * 10 ** (-SILENCE_DB / 10))
    return samples_S[heard[0] * hop : (heard[-1] + 1) * hop] if len(heard) else samples_S


def mel_filters(rate: int, size: int) -> np.ndarray:
    """Triangles [M, K] over the frequencies of a transform of `size` samples, evenly spaced in mels up to TOP_HZ."""
    edges_hz = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + TOP_HZ / 700), BANDS + 2) / 2595) - 1)
    low, peak, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    hz_K = np.arange(size // 2 + 1) * rate / size
    return np.clip(np.minimum((hz_K - low) / (peak - low), (high - hz_K) / (high - peak)), 0, None)


class Takes:
    """Spoken digits in a folder: paths, digits (`seven`) and speakers, and which are held out."""

    def __init__(self, root: Path, fraction: float = 0.05) -> None:
        self.paths = sorted(root.rglob("*_*_*.wav"))
        if not self.paths:
            sys.exit(f"{root}: no takes named like 7_jackson_12.wav there; --data DIR says where they are")
        stems = [path.stem.split("_") for path in self.paths]
        self.digits = np.array([WORDS[int(digit)] for digit, *_ in stems])
        self.speakers = np.array([speaker for _, speaker, *_ in stems])
        self.held = np.array(held([p.relative_to(root).with_suffix("").as_posix() for p in self.paths], fraction))

    def sounds(self, which: np.ndarray, rate: int | None = None) -> list[Sound]:
        """Those of a mask, at their own rate or another."""
        return [read_audio(path, rate)[0] for path, wanted in zip(self.paths, which) if wanted]


class Judge:
    """Tells who says which digit."""

    def __init__(self, digit: Any, speaker: Any) -> None:
        self._digit, self._speaker = digit, speaker

    @classmethod
    def fit(cls, root: Path, fraction: float = 0.05) -> Judge:
        """Trained on the takes of a folder that are not held out."""
        takes = Takes(root, fraction)
        rows, train = features(takes.sounds(~takes.held)), ~takes.held
        return cls(classifier().fit(rows, takes.digits[train]), classifier().fit(rows, takes.speakers[train]))

    def digit(self, clips: Sequence[Sound]) -> list[str]:
        """The digit heard in each: `seven`."""
        return self._digit.predict(features(clips)).tolist()

    def speaker(self, clips: Sequence[Sound]) -> list[str]:
        """Whose voice each is."""
        return self._speaker.predict(features(clips)).tolist()


def features(clips: Sequence[Sound]) -> np.ndarray:
    """A row of `mfcc` for each clip, of its first channel."""
    return np.stack([mfcc(clip.samples[:, 0], clip.rate) for clip in clips])


def classifier() -> Any:
    """An untrained judge of one thing."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=1000))


class Digits:
    """What the commands share: takes, the judge, and the share of answers that are right."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.takes = Takes(args.data, self.fraction)
        self.digits, self.speakers = (found[self.takes.held] for found in (self.takes.digits, self.takes.speakers))

    @property
    def fraction(self) -> float:
        """What RUN held out; 0.05, as by default, of a bundle that does not say."""
        config = getattr(self.args, "run", Path()) / "config.yaml"
        found = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else {}
        return found.get("data", {}).get("val_split", 0.05)

    @cached_property
    def judge(self) -> Judge:
        return Judge.fit(self.args.data, self.fraction)


def judges(asked: Digits) -> None:
    """How often the judges are right about takes that they were not trained on."""
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    takes, train = asked.takes, ~asked.takes.held
    rows, folds = features(takes.sounds(train)), StratifiedKFold(5, shuffle=True, random_state=0)
    clips = takes.sounds(takes.held)
    print(f"{train.sum()} takes to train on, 5 parts each judged by the others; {len(clips)} held out")
    for name, answers, heard in (
        ("digit", takes.digits, asked.judge.digit(clips)),
        ("speaker", takes.speakers, asked.judge.speaker(clips)),
    ):
        crossed = cross_val_score(classifier(), rows, answers[train], cv=folds).mean()
        print(f"  {name:8} {percent(crossed)} cross-validated, {percent(right(heard, answers[takes.held]))} held out")


def codec(asked: Digits) -> None:
    """Held-out takes and what a codec makes of them."""
    from pystoi import stoi

    run, level = asked.args.run, asked.args.level
    found = registry.open_tokenizer("audio", run if level is None else run.with_name(f"{run.name}@{level}"))
    if found is None:
        sys.exit(f"{run}: no codec of sound there; `helicon train audio-codec DIR` makes one")
    tokenizer: Any = found[1]
    takes, rate = asked.takes, tokenizer.read_options["rate"]
    before = takes.sounds(takes.held, rate)
    ids = [tokenizer.encode(clip) for clip in before]
    after = [fitted(tokenizer.decode(codes), len(clip)) for codes, clip in zip(ids, before)]
    pairs = [(waves([one]), waves([other])) for one, other in zip(before, after)]
    joined_dB = float(si_sdr(waves(before), waves(after)))
    print(f"{len(before)} held-out takes, {sum(clip.seconds for clip in before):.1f} s at {rate} Hz")
    print(f"  SI-SDR        {mean(si_sdr, pairs):.2f} dB, of all joined {joined_dB:.2f} dB")
    print(f"  mel distance  {mean(lambda one, other: mel_distance(one, other, rate), pairs):.3f}")
    told = {}
    for speaker in sorted(set(asked.speakers)):
        own = [number for number, name in enumerate(asked.speakers) if name == speaker]
        one, other = (waves([clips[number] for number in own])[0].double().numpy() for clips in (before, after))
        told[speaker] = float(stoi(one, other, rate))
    print(f"  STOI          {np.mean(list(told.values())):.3f}: " + ", ".join(f"{s} {x:.3f}" for s, x in told.items()))
    trained = [tokenizer.encode(clip) for clip in takes.sounds(~takes.held, rate)]
    for name, codes in (("held-out", ids), ("training", trained)):
        flat, size = torch.from_numpy(np.concatenate(codes)), len(tokenizer.block)
        usage, perplexity = codebook_figures(torch.bincount(flat, minlength=size))
        print(f"  {name} takes: {len(flat)} codes, perplexity {perplexity:.0f} of {size}, {percent(usage)} used")
    shares = [right(asked.judge.digit(clips), asked.digits) for clips in (before, after)]
    print(f"  digit heard in originals {percent(shares[0])}, in reconstructions {percent(shares[1])}")
    shares = [right(asked.judge.speaker(clips), asked.speakers) for clips in (before, after)]
    print(f"  speaker heard in originals {percent(shares[0])}, in reconstructions {percent(shares[1])}")


def text(asked: Digits) -> None:
    """Takes made for the caption of each digit and speaker."""
    args, bundle = asked.args, load_bundle(asked.args.run)
    speakers = sorted(set(asked.takes.speakers))
    each, rest = divmod(args.samples, len(WORDS) * len(speakers))
    if rest or not each:
        sys.exit(f"--samples {args.samples}: a multiple of {len(WORDS)} digits x {len(speakers)} speakers is needed")
    wanted, clips = [], []
    captions = tqdm(list(product(WORDS, speakers)), desc="making", unit=" captions", leave=False, disable=None)
    for number, (digit, speaker) in enumerate(captions):
        request = Request(
            count=each, seed=args.seed + number, conditions={"text": f"{digit}, spoken by {speaker}"}, to="audio",
            temperature=args.temperature, top_k=args.top_k, guidance=args.guidance,
        )  # fmt: skip
        wanted += [(digit, speaker)] * each
        clips += [item.media for item in generate(bundle, request)]
    digits, voices = zip(*wanted)
    heard = [clip if len(clip) else Sound(np.zeros((1, 1), np.float32), 8000) for clip in clips]
    own, voice = asked.judge.digit(heard), asked.judge.speaker(heard)
    seconds = np.mean([clip.seconds for clip in clips])
    print(f"{len(clips)} takes, {each} for each caption, {seconds:.2f} s on average; in brackets what guessing reaches")
    print(f"  digit as asked    {percent(right(own, digits))} ({percent(1 / len(WORDS))})")
    print(f"  speaker as asked  {percent(right(voice, voices))} ({percent(1 / len(speakers))})")
    for word in WORDS:
        found = [one for one, asked_for in zip(own, digits) if asked_for == word]
        others = sorted({one for one in found if one != word})
        print(f"    {word:6} {found.count(word)} of {len(found)}" + (f", else {' '.join(others)}" if others else ""))


def hear(asked: Digits) -> None:
    """The likeliest caption of each held-out take."""
    bundle, takes = load_bundle(asked.args.run), asked.takes
    paths = [path for path, out in zip(takes.paths, takes.held) if out]
    requests = [Request(count=1, seed=0, conditions={"audio": str(path)}, to="text", temperature=0.0) for path in paths]
    captions = [generate(bundle, request)[0].media for request in requests]
    told = [caption.strip().split(", spoken by ") for caption in captions]
    for path, caption in list(zip(paths, captions))[:8]:
        print(f"  {path.name:20} {caption}")
    digits, voices = [words[0] for words in told], [words[-1] for words in told]
    print(f"captions of {len(paths)} held-out takes; in brackets what guessing reaches")
    print(f"  digit    {percent(right(digits, asked.digits))} ({percent(1 / len(WORDS))})")
    print(f"  speaker  {percent(right(voices, asked.speakers))} ({percent(1 / len(set(takes.speakers)))})")


def fitted(sound: Sound, length: int) -> Sound:
    """A reconstruction as long as what it is of: codes stand for whole hops."""
    samples = np.zeros((length, sound.channels), np.float32)
    samples[: len(sound)] = sound.samples[:length]
    return Sound(samples, sound.rate)


def waves(clips: Sequence[Sound]) -> torch.Tensor:
    """[1, S] of the first channels, end to end."""
    return torch.from_numpy(np.concatenate([clip.samples[:, 0] for clip in clips]))[None]


def mean(figure: Callable[..., Any], pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Of a figure over pairs."""
    return float(np.mean([float(figure(one, other)) for one, other in pairs]))


def right(answers: Sequence[Any], truth: Sequence[Any] | np.ndarray) -> float:
    """Share of equal answers."""
    return float(np.mean(np.asarray(answers, object) == np.asarray(truth, object)))


def percent(part: float) -> str:
    return f"{100 * part:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    work = {"judges": judges, "codec": codec, "text": text, "hear": hear}
    for name, function in work.items():
        command = commands.add_parser(name, help=function.__doc__)
        if name != "judges":
            command.add_argument("run", type=Path)
        command.add_argument("--data", type=Path, default=FOLDER, help="takes with captions; default %(default)s")
        if name == "codec":
            command.add_argument(
                "--level", type=int, help="of a codec with several: 0 is the finest; the top one unless given"
            )
        if name == "text":
            command.add_argument("--samples", type=int, default=100)
            command.add_argument("--seed", type=int, default=0)
            command.add_argument("--temperature", type=float, default=1.0)
            command.add_argument("--top-k", type=int)
            command.add_argument("--guidance", type=float, default=1.0)
    args = parser.parse_args()
    needed = {"sklearn": "scikit-learn", **({"pystoi": "pystoi"} if args.command == "codec" else {})}
    missing = [package for module, package in needed.items() if args.command != "hear" and find_spec(module) is None]
    if missing:
        sys.exit(f"`{args.command}` needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    try:
        work[args.command](Digits(args))
    except ValueError as error:  # no such model, or one that makes something else
        sys.exit(str(error))


if __name__ == "__main__":
    main()
