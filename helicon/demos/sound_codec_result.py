"""How a codec of sound is shown: some sounds to listen to, before and after each level, their spectra, its figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from helicon.formats.audio import Sound, write_audio
from helicon.formats.page import PageItem
from helicon.formats.sound_plots import spectrogram_pairs
from helicon.training.audio_codec import reconstructions
from helicon.training.audio_data import AudioData
from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.storage import CodecBundle

SHOWN, LONGEST_S = 6, 10.0  # held-out sounds, and seconds of each


def items(bundle: CodecBundle, data: AudioData, folder: Path) -> list[PageItem]:
    """Each sound as it was, and as each level gives it back; pairs of spectrograms."""
    assert isinstance(bundle.codec, AudioCodec)
    shown, pairs, out = [], [], folder / "reconstructions"
    out.mkdir(parents=True, exist_ok=True)
    for number, example in enumerate(data.examples(SHOWN)):
        sound = data.sounds.stretch(int(example), 0, round(LONGEST_S * data.rate))
        name = data.corpus.names[int(example)]
        versions = [("before", sound), *reconstructions(bundle.codec, sound)]
        for level, made in versions:
            path = out / f"{number}-{level}.wav"
            write_audio(Sound(made.T.numpy(), data.rate), path)
            after = "as it was" if level == "before" else f"after {level.replace('hop', 'hop ')}"
            shown.append(PageItem(name, after, audio=path.relative_to(folder), files=[path.relative_to(folder)]))
        pairs += [(f"{name}, {level}", sound.T.numpy(), made.T.numpy(), data.rate) for level, made in versions[1:]]
    sheet = folder / "spectrograms.png"
    spectrogram_pairs(pairs, sheet)
    seen = "never heard" if len(data.held) else "was trained on"
    return [*shown, PageItem("Before and after", f"sounds it {seen}", image=sheet.name, files=[sheet.name])]


def charts(bundle: CodecBundle) -> dict[str, tuple[str, dict[str, str]]]:
    """Quality, and use of the codebooks, of each level."""
    assert isinstance(bundle.codec, AudioCodec)
    hops = bundle.codec.shape.hops
    ends = {f"hop {hop}": f"-{hop}" for hop in hops} if len(hops) > 1 else {"held out": ""}
    perplexity = "Perplexity of the codes: as many equally frequent ones would carry as much"
    return {
        "si-sdr.png": ("SI-SDR of held-out sounds, dB", {k: f"val/si_sdr{end}" for k, end in ends.items()}),
        "mel.png": ("Mel distance of held-out sounds", {k: f"val/mel_distance{end}" for k, end in ends.items()}),
        "codes.png": (perplexity, {k: f"val/perplexity{end}" for k, end in ends.items()}),
    }


def summary(last: Mapping[str, float]) -> str:
    """Quality on what is held out, in one line."""
    found = []
    ends = [name.removeprefix("val/si_sdr") for name in last if name.startswith("val/si_sdr")]
    for end in sorted(ends, key=lambda end: int(end[1:] or 0)):
        hop = f"hop {end[1:]}: " if end else ""
        figures = ("si_sdr", "mel_distance", "usage", "perplexity")
        ratio, mel, usage, perplexity = (last[f"val/{name}{end}"] for name in figures)
        used = f"{100 * usage:.1f} % of the codes used, perplexity {perplexity:.0f}"
        found.append(f"{hop}SI-SDR {ratio:.2f} dB, mel distance {mel:.3f}, {used}")
    return "; ".join(found) or "not measured: too few steps, or nothing held out"


def settings(bundle: CodecBundle, data: AudioData) -> dict[str, object]:
    """Rows of the page's table."""
    assert isinstance(bundle.codec, AudioCodec)
    shape = bundle.codec.shape
    levels = (f"{shape.rate / hop:,.0f} a second" for hop in shape.hops)
    return {
        "codec": f"{shape.quantizer}, {bundle.codec.level(0).codebook_size} codes, {'; '.join(levels)}",
        "network": f"width {shape.width}, {shape.depth} blocks after each step, dilated {shape.growth}^i",
        "sound": f"{shape.rate:,} samples a second, {'mono' if shape.channels == 1 else 'stereo'}",
        "trained on": f"{data.seconds / 60:,.1f} min of sound",
    }


def next_steps(run: str, folder: str) -> list[str]:
    """Commands to go on with."""
    return [
        f"helicon reconstruct {run} IN.wav -o out",
        f"helicon train audio {folder} --data.tokenizer {run}",
        f"helicon train text-to-audio {folder} --data.tokenizer {run}",
    ]
