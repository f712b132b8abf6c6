"""Result page of a codec's training: reconstructions, and curves of their quality and of the use of the codebook."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import helicon
from helicon.formats.audio import Sound, write_audio
from helicon.formats.page import PageItem, write_page
from helicon.formats.plots import curves
from helicon.formats.quantities import duration
from helicon.formats.sound_plots import spectrogram_pairs
from helicon.plugins.loading import words as plugin_words
from helicon.training.codecs.audio_codec import reconstructions
from helicon.training.codecs.audio_data import AudioData
from helicon.training.codecs.codec import write_reconstructions
from helicon.training.codecs.codec_data import ImageData
from helicon.training.codecs.raw_data import RawData
from helicon.training.runs.metrics import Metrics, read_metrics
from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.storage import load_codec

SHOWN_PICTURES = 24  # held-out pictures on the sheet
# Held-out sounds on the page, and seconds of each: a minute to listen to in all, and once more for each level
SHOWN_SOUNDS, MAX_SOUND_S = 6, 10.0
PERPLEXITY = "Perplexity of the codes: as many equally frequent ones would carry as much"

Chart = tuple[str, dict[str, str]]  # caption, and name of a line -> metric


class CodecPage(ABC):
    """Content of the result page for the codecs of a medium.

    Attributes:
        example: placeholder of the medium's files in a command.
    """

    example: ClassVar[str]

    @abstractmethod
    def items(self, codec: Any, data: Any, folder: Path) -> list[PageItem]:
        """Write reconstructions of held-out examples; of training examples where none is held out.

        Args:
            codec: `ImageCodec` or `AudioCodec`, in evaluation mode.
            data: `ImageData` or `AudioData`, data module of the same medium, prepared.
            folder: path of the page's folder, below which the files are written.

        Returns:
            A `PageItem` for each entry of the page.
        """

    @abstractmethod
    def charts(self, codec: Any) -> dict[str, Chart]:
        """Return the charts of an `ImageCodec` or `AudioCodec`: file name of the picture -> `Chart` of metrics."""

    @abstractmethod
    def quality(self, last: Mapping[str, float]) -> str:
        """Describe quality on held-out examples in a line, from metric -> last value; empty without metrics."""

    @abstractmethod
    def settings(self, codec: Any, data: Any) -> dict[str, object]:
        """Describe the codec and its data.

        Args:
            codec: `ImageCodec` or `AudioCodec`.
            data: `ImageData` or `AudioData`, data module of the same medium.

        Returns:
            Rows of the page's table, name -> value.
        """

    def summary(self, metrics: Metrics) -> str:
        """Describe quality on held-out examples after a training in a line, from metric -> (steps, values)."""
        last = {name: values[-1] for name, (_, values) in metrics.items() if values}
        return self.quality(last) or "not measured: too few steps, or no validation files"


class PictureCodecPage(CodecPage):
    """Page of image codecs: a sheet of pictures before and after."""

    example = "PICTURE..."

    def items(self, codec: ImageCodec, data: ImageData, folder: Path) -> list[PageItem]:
        before = data.pictures.batch(data.examples(SHOWN_PICTURES))
        sheet = folder / "reconstructions.png"
        write_reconstructions(codec, before, sheet)
        shown = f"{len(before)} pictures it {'never saw' if len(data.val) else 'was trained on'}"
        return [PageItem(title="Before and after", caption=shown, image=sheet.name, files=[sheet.name])]

    def charts(self, codec: ImageCodec) -> dict[str, Chart]:
        return {
            "psnr.png": ("PSNR of validation pictures, dB; higher is better", {"validation": "val/psnr"}),
            "codes.png": (PERPLEXITY, {"validation": "val/perplexity", "training": "train/perplexity"}),
        }

    def quality(self, last: Mapping[str, float]) -> str:
        if "val/psnr" not in last:
            return ""
        return (
            f"PSNR {last['val/psnr']:.2f} dB (higher is better), "
            f"squared error {last['val/loss']:.4f} of that of the mean picture (lower is better), "
            f"{100 * last['val/usage']:.1f} % of the codes used, perplexity {last['val/perplexity']:.0f}"
        )

    def settings(self, codec: ImageCodec, data: ImageData) -> dict[str, object]:
        config, size = codec.config, data.size
        return {
            "codec": f"{config.quantizer}, {codec.codebook_size} codes, each {config.factor} x {config.factor} pixels",
            "network": f"width {config.width}, {config.blocks} blocks, likelihood {config.likelihood}",
            "pictures": f"{size} x {size} pixels",
        }


class SoundCodecPage(CodecPage):
    """Page of audio codecs: sounds to listen to, before and after each level, and pairs of their spectrograms."""

    example = "IN.wav"

    def items(self, codec: AudioCodec, data: AudioData, folder: Path) -> list[PageItem]:
        shown, pairs, out = [], [], folder / "reconstructions"
        out.mkdir(parents=True, exist_ok=True)
        for number, example in enumerate(data.examples(SHOWN_SOUNDS)):
            sound = data.sounds.stretch(int(example), 0, round(MAX_SOUND_S * data.rate))
            name = data.corpus.names[int(example)]
            versions = [("before", sound), *reconstructions(codec, sound)]
            for level, version in versions:
                path = out / f"{number}-{level}.wav"
                write_audio(Sound(version.T.numpy(), data.rate), path)
                after = "as it was" if level == "before" else f"after {level.replace('hop', 'hop ')}"
                shown.append(
                    PageItem(
                        title=name, caption=after, audio=path.relative_to(folder), files=[path.relative_to(folder)]
                    )
                )
            pairs += [
                (f"{name}, {level}", sound.T.numpy(), version.T.numpy(), data.rate) for level, version in versions[1:]
            ]
        sheet = folder / "spectrograms.png"
        spectrogram_pairs(pairs, sheet)
        seen = "never heard" if len(data.val) else "was trained on"
        return [
            *shown,
            PageItem(title="Before and after", caption=f"sounds it {seen}", image=sheet.name, files=[sheet.name]),
        ]

    def charts(self, codec: AudioCodec) -> dict[str, Chart]:
        hops = codec.config.hops
        ends = {f"hop {hop}": f"-{hop}" for hop in hops} if len(hops) > 1 else {"validation": ""}
        charts = {
            "si-sdr.png": ("SI-SDR of validation sounds, dB; higher is better", "si_sdr"),
            "mel.png": ("Mel distance of validation sounds; lower is better", "mel_distance"),
            "codes.png": (PERPLEXITY, "perplexity"),
        }
        return {
            file: (caption, {line: f"val/{metric}{end}" for line, end in ends.items()})
            for file, (caption, metric) in charts.items()
        }

    def quality(self, last: Mapping[str, float]) -> str:
        lines = []
        ends = [name.removeprefix("val/si_sdr") for name in last if name.startswith("val/si_sdr")]
        for end in sorted(ends, key=lambda end: int(end[1:] or 0)):
            hop = f"hop {end[1:]}: " if end else ""
            figures = ("si_sdr", "mel_distance", "usage", "perplexity")
            ratio, mel, usage, perplexity = (last[f"val/{name}{end}"] for name in figures)
            used = f"{100 * usage:.1f} % of the codes used, perplexity {perplexity:.0f}"
            lines.append(
                f"{hop}SI-SDR {ratio:.2f} dB (higher is better), mel distance {mel:.3f} (lower is better), {used}"
            )
        return "; ".join(lines)

    def settings(self, codec: AudioCodec, data: AudioData) -> dict[str, object]:
        config = codec.config
        levels = (f"{config.rate / hop:,.0f} a second" for hop in config.hops)
        return {
            "codec": f"{config.quantizer}, {codec.level(0).codebook_size} codes, {'; '.join(levels)}",
            "network": f"width {config.width}, {config.depth} blocks after each step, dilated {config.growth}^i",
            "sound": f"{config.rate:,} samples a second, {'mono' if config.channels == 1 else 'stereo'}",
            "trained on": f"{duration(data.seconds)} of sound",
        }


PAGES: dict[str, CodecPage] = {"image": PictureCodecPage(), "audio": SoundCodecPage()}


def next_steps(medium: str, run: str, folder: str) -> list[str]:
    """List the commands to go on with after the training of a codec.

    Args:
        medium: medium of the codec, `image` or `audio`.
        run: folder of the run, quoted for a shell.
        folder: that the codec was trained on, quoted for a shell.

    Returns:
        Command lines, with the plugins that are loaded now.
    """
    commands = [
        f"helicon reconstruct {run} {PAGES[medium].example} -o out",
        f"helicon train {medium} {folder} --data.tokenizer {run}",
        f"helicon train text-to-{medium} {folder} --data.tokenizer {run}",
    ]
    return [f"{command} {shlex.join(plugin_words())}".rstrip() for command in commands]


def write_codec_result(
    page: Path, run: Path, data: RawData, settings: Mapping[str, object], commands: Sequence[str]
) -> tuple[Path, str]:  # fmt: skip
    """Write the page of a codec's training, beside the files that it shows.

    Args:
        page: path of the HTML file.
        run: folder of the run, with its codec and metrics.
        data: `RawData`, the data module of the training.
        settings: first rows of the page's table, name -> value.
        commands: command lines to go on with, shown on the page.

    Returns:
        `page`, and a line of text on the quality on held-out examples.

    Raises:
        CodecError: the run has no codec that can be read.
    """
    bundle, metrics, content = load_codec(run), read_metrics(run), PAGES[data.medium]
    data.setup("fit")
    items, line = content.items(bundle.codec, data, page.parent), content.summary(metrics)
    figures = _draw(content.charts(bundle.codec), metrics, page.parent)
    assert data.prepared is not None
    rows: dict[str, object] = {
        **settings,
        "files": f"{data.prepared.files:,} read, {len(data.prepared.skipped):,} skipped",
        **content.settings(bundle.codec, data),
        "steps": f"{bundle.notes.get('step', 0):,}",
        "fingerprint": bundle.fingerprint(),
        "quality": line,
        "helicon": helicon.__version__,
    }
    write_page(page, f"Results of {run.name}", line, items, figures, rows, commands)
    return page, line


def _draw(charts: Mapping[str, Chart], metrics: Metrics, folder: Path) -> list[tuple[str, Path]]:
    """Draw charts of the metrics that a training has logged; return (caption, picture relative to the folder)."""
    drawn = []
    for name, (caption, lines) in charts.items():
        series = {line: metrics[metric] for line, metric in lines.items() if metric in metrics}
        if series:
            curves(series, folder / name, label=caption.partition(":")[0])
            drawn.append((caption, Path(name)))
    return drawn
