"""What reads files of strangers: honest files, how they are mutated, and the way in that commands take.

Each says what may come out; seeds are tiny, so that tens of thousands of inputs take a minute.
"""

from __future__ import annotations

import atexit
import io
import json
import shutil
import struct
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from random import Random

import archive_mutators
import midi_mutator
import numpy as np
import picture_mutators
import sound_mutators
import soundfile
import text_mutators
import torch
from fuzzing import LONGEST, Parser
from mutations import blob, json_file
from PIL import Image
from safetensors.torch import save

from helicon.bundle.bundle import Bundle, make_gpt
from helicon.bundle.importing.checkpoint import ImportingError
from helicon.bundle.importing.folder import import_folder
from helicon.bundle.storage import CONFIG, BundleError, load_bundle, save_bundle
from helicon.data.entries import DataError
from helicon.data.files import scan
from helicon.data.shards import Member, read_shard
from helicon.formats.audio import read_audio
from helicon.formats.audio_limits import AudioError
from helicon.formats.image import ImageError, read_image
from helicon.formats.midi_bytes import MidiError
from helicon.formats.midi_write import write_midi
from helicon.formats.score import DRUMS, Score
from helicon.formats.weights import WeightsError, read_weights
from helicon.gpt.config import GPTConfig
from helicon.modalities import registry
from helicon.sequence.layout import Layout
from helicon.tokenizers.labels import LabelTokenizer
from helicon.tokenizers.lyrics import LyricsTokenizer
from helicon.tokenizers.palette import PaletteTokenizer
from helicon.tokenizers.sequencer import Sequencer
from helicon.tokenizers.text import BpeTokenizer, BytesTokenizer
from helicon.training.errors import TrainingError
from helicon.training.runs.checkpoints import read_checkpoint
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.config import ImageCodecConfig
from helicon.vqvae.storage import CONFIG as CODEC
from helicon.vqvae.storage import CodecBundle, CodecError, load_codec, save_codec


@cache
def own_folder(name: str) -> Path:
    """A folder of this name that goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix=f"helicon-fuzz-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def odd(path: Path) -> bool:
    """Half of the files: those that are read with options."""
    return bool(path.stat().st_size % 2)


def whole(lines: dict[str, str]) -> None:
    """Reasons for what is passed over are lines that can be shown."""
    for name, reason in lines.items():
        assert reason.isprintable(), ascii(reason[:200])
        assert name.isprintable(), ascii(name[:200])
        assert len(reason) <= LONGEST, reason[:200]


# --- music


def midi_seeds() -> list[bytes]:
    """A piece of three programs with text, as we write it, and one by hand: running status, sysex, pedal, two ports."""
    path, onset = own_folder("midi") / "seed.mid", np.arange(12) * 0.2
    program = np.array([0, 40, DRUMS] * 4)
    write_midi(Score.of(onset, onset + 0.3, 40 + np.arange(12), np.full(12, 80), program), path, text="bach start")
    track = bytes.fromhex(
        "00ff210100 00b04000 00903c40 60 3c00 00b0407f 00903e4060 00 4000 00f0037e7ff7 8100 803e40 00ff5902fb00"
        " 00b07900 00c005 00ff51030fffff 00e00040 00ff0105 48656c6c6f 00ff2f00"
    )
    frames = b"MThd\0\0\0\6\0\2\0\2\xe7\x28" + 2 * (b"MTrk" + struct.pack(">L", len(track)) + track)
    return [path.read_bytes(), b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk" + struct.pack(">L", len(track)) + track, frames]


def midi(path: Path) -> bool:
    """A score of notes that can be."""
    score, counts = registry.get("music").read(path, None, {"pedal": "extend" if odd(path) else "drop"})
    assert all(what.isprintable() and number > 0 for what, number in counts.items())
    assert np.isfinite(score.end_s).all()
    assert (score.onset_s >= 0).all()
    assert (score.end_s > score.onset_s).all()
    assert (np.diff(score.onset_s) >= 0).all()
    for values, least, greatest in ((score.pitch, 0, 127), (score.velocity, 1, 127), (score.program, 0, DRUMS)):
        assert ((values >= least) & (values <= greatest)).all()
    assert 0 < score.tempo_bpm < float("inf")
    return len(score.pitch) > 0


# --- pictures


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    """A picture file as Pillow writes it."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def picture_seeds(format: str) -> list[bytes]:
    """Of 10 x 9 pixels, in most of the ways that pixels lie in a format."""
    y, x = np.mgrid[0:9, 0:10]
    rgb = Image.fromarray(np.stack([x * 24, y * 20, x * y % 256], axis=-1).astype(np.uint8))
    rgba, palette, exif = rgb.copy(), rgb.quantize(8), Image.Exif()
    rgba.putalpha(rgb.getchannel("R"))
    exif[0x0112], exif[0x010E] = 6, "hello"
    grey, bits = Image.fromarray((x * 6000).astype(np.uint16)), rgb.convert("1")
    several = {"save_all": True, "append_images": [rgb.rotate(180)], "duration": 100}
    if format == "PNG":
        more = [(palette, {"transparency": 3}), (grey, {}), (rgb, several), (bits, {})]
        return [saved(rgba, "PNG", exif=exif, icc_profile=b"x" * 30), *(saved(im, "PNG", **how) for im, how in more)]
    if format == "JPEG":
        ways = [(rgb, {"exif": exif}), (rgb, {"progressive": True}), (rgb.convert("CMYK"), {}), (rgb.convert("L"), {})]
        return [saved(image, "JPEG", **how) for image, how in ways] + [saved(rgb, "JPEG", restart_marker_blocks=1)]
    if format == "GIF":
        return [saved(palette, "GIF", transparency=2), saved(palette, "GIF", **several, disposal=2, comment=b"hi")]
    if format == "WEBP":
        lossless = saved(rgba, "WEBP", lossless=True, exif=exif)
        return [saved(rgb, "WEBP"), lossless, saved(rgba, "WEBP", quality=50), saved(rgb, "WEBP", **several)]
    if format == "TIFF":
        ways = ("raw", "tiff_adobe_deflate", "tiff_lzw", "packbits", "jpeg")
        found = [saved(rgb, "TIFF", compression=way) for way in ways]
        found += [saved(bits, "TIFF", compression=way) for way in ("group4", "group3")]
        return found + [saved(image, "TIFF") for image in (rgba, grey, palette, rgb.convert("LAB"))]
    return [saved(rgb, "BMP"), saved(palette, "BMP"), saved(rgba, "BMP"), saved(bits, "BMP")]


def picture(path: Path) -> bool:
    """Pixels."""
    size = 8 if odd(path) else None
    pixels, _ = read_image(path, size)
    assert pixels.dtype == np.uint8
    assert pixels.size > 0
    assert pixels.shape[2:] == (3,)
    assert size is None or pixels.shape[:2] == (size, size)
    return True


# --- sound


def encoded(format: str, subtype: str | None = None, frames: int = 200, channels: int = 2) -> bytes:
    """A file of a tone that rises, as soundfile writes it."""
    t_s, file = np.arange(frames) / 8000, io.BytesIO()
    tone = (0.5 * np.sin(2 * np.pi * (200 + 400 * t_s) * t_s))[:, None] / np.arange(1, channels + 1)
    soundfile.write(file, tone.astype(np.float32), 8000, format=format, subtype=subtype)
    return file.getvalue()


def wav_seeds() -> list[bytes]:
    """Of most encodings."""
    kinds = ("PCM_16", "PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM", "MS_ADPCM")
    found = [encoded("WAV", kind) for kind in kinds]
    return [*found, encoded("WAVEX"), encoded("RF64"), encoded("WAV", "GSM610", 400, 1)]


def flac_seeds() -> list[bytes]:
    """Of one and several frames."""
    return [encoded("FLAC"), encoded("FLAC", "PCM_24", 60, 1), encoded("FLAC", "PCM_S8", 9000, 1)]


def ogg_seeds() -> list[bytes]:
    """Vorbis, Opus and FLAC in OGG."""
    return [encoded("OGG", "VORBIS", 400, 1), encoded("OGG", "OPUS", 400, 2), encoded("OGG", "OPUS", 3000, 1)]


def mp3_seeds() -> list[bytes]:
    """With and without a tag, and without the frame that says how long it is."""
    plain = encoded("MP3", None, 2400, 1)
    title = b"TIT2\0\0\0\6\0\0\0hello" + b"APIC\0\0\0\x0a\0\0\0image/\0\0\0"
    tagged = b"ID3\3\0\0" + bytes([0, 0, 0, len(title)]) + title + plain
    return [plain, tagged, sound_mutators.mp3_join(sound_mutators.mp3_split(plain)[1:]), encoded("MP3", None, 2400, 2)]


def sound(path: Path) -> bool:
    """Samples in [-1, 1]."""
    found, _ = read_audio(path, 16_000 if odd(path) and path.stat().st_size % 8 == 1 else None)
    samples = found.samples
    assert samples.dtype == np.float32
    assert samples.ndim == 2
    assert samples.shape[1] == 1
    assert len(samples) > 0
    assert np.abs(samples).max() <= 1  # not so of NaN
    return True


# --- text and lists

SONG = b"""[ar:The Muses]
[offset:+200]
[00:12.00][01:02.50]Sing, goddess,
[00:15.30]the <00:15.80>anger of Achilles

and its devastation
[02:00]which put pains \xe2\x80\x94 a thousandfold
"""
LIST = b"""file,label,text
a.png,bach,"slow, quiet"
b.png,liszt,loud
a.png,,again
c.png,,none
"""
LINES = b"""{"file": "a.png", "label": "bach", "text": ["slow", "quiet"]}
{"file": "b.png", "caption": "loud"}
{"file": "c.png", "label": 3, "text": null}"""
COCO = (
    b'{"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}], "annotations": '
    b'[{"image_id": 1, "id": 7, "caption": "a cat"}, {"image_id": 2, "id": 3, "caption": "two"}, {"bbox": [1, 2]}]}'
)


def lyrics(path: Path) -> bool:
    """A text, and stretches of it."""
    words, _ = registry.get("lyrics").read(path)
    tokenizer = LyricsTokenizer()
    ids = tokenizer.encode(registry.get("lyrics").paired(words))
    for begin_s in (0.0, 12.5, 1e6):
        assert len(tokenizer.slide(ids, begin_s, begin_s + 5, 100.0, 24)) <= 24
    return True


def list_seeds(text: bytes) -> list[bytes]:
    """A list of files, of which some are there."""
    for name in ("a.png", "b.png"):
        (own_folder("data") / name).write_bytes(picture_seeds("PNG")[0])
    return [text]


def manifest(path: Path) -> bool:
    """Examples of the files that are there."""
    found = scan(own_folder("data"), [registry.get("image"), registry.get("text")], path)
    whole(found.skipped)
    return bool(found.entries)


def tar_seeds() -> list[bytes]:
    """As Python writes them, in all three formats."""
    found = []
    for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=format) as tar:
            for name, data in (("x/a.png", b"picture"), ("x/a.txt", b"words"), (f"{'y' * 90}/{'é' * 20}.png", b"p")):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        found.append(file.getvalue().rstrip(b"\0") + bytes(1024))
    return found


def shard(path: Path) -> bool:
    """Members, each of which is the bytes that it says."""
    members, skipped = read_shard(path)
    whole(skipped)
    for member in members[:3]:
        assert isinstance(member, Member)
        with member.unpacked() as copy:
            assert copy.stat().st_size == member.size
    return bool(members)


# --- models


def tiny(kind: str) -> Bundle:
    """Untrained models of words, pictures and labels, or of music."""
    torch.manual_seed(0)
    if kind == "music":
        onset = np.arange(8) * 0.25
        score = Score.of(onset, onset + 0.2, 60 + np.arange(8), np.full(8, 80), np.zeros(8, int))
        names, layouts = {"music": "music", "style": "style"}, ["style[3] music"]
        surveys = [registry.get("music").survey(score)]
        tokenizers = {s: registry.spec(s, n).fit(surveys, siblings=names) for s, n in names.items()}
    else:
        names = {"text": "bytes", "image": "palette", "style": "labels"}
        palette = PaletteTokenizer(np.array([[-1, -1, -1], [1, -1, -1], [-1, 1, -1], [1, 1, 1]]), 4)
        tokenizers = {"text": BytesTokenizer(), "image": palette, "style": LabelTokenizer(["bach", "liszt"])}
        layouts = ["text[4] image[]", "image[]", "text[6]"]
        tokenizers.pop("style")
        names.pop("style")
    sequencer = Sequencer([Layout.parse(each) for each in layouts], tokenizers, 24)
    return Bundle(
        gpt=make_gpt(GPTConfig(layers=1, width=8, heads=2), sequencer.schema),
        sequencer=sequencer,
        tokenizer_names=names,
        notes={"step": 3},
    )


def bundle_seeds(kind: str) -> list[bytes]:
    """The JSON of a bundle, whose weights are in a folder of the process."""
    folder = own_folder(kind)
    save_bundle(tiny(kind), folder)
    return [(folder / CONFIG).read_bytes()]


def bundle(path: Path, kind: str) -> bool:
    """A model whose sizes are those of its weights."""
    folder = own_folder(kind)
    shutil.copyfile(path, folder / CONFIG)
    try:
        found = load_bundle(folder)
    except BundleError as error:
        raise BundleError(str(error).replace(str(folder), "")) from None
    assert len(found.schema.vocabulary) == len(found.gpt.tokens.weight)
    return True


def codec_seeds() -> list[bytes]:
    """The JSON of a codec of pictures."""
    folder = own_folder("codec")
    torch.manual_seed(0)
    save_codec(
        CodecBundle(
            codec=ImageCodec(ImageCodecConfig(width=8, blocks=0, codes=8, code_width=4)),
            medium="image",
            reading={"size": 8},
        ),
        folder,
    )
    return [(folder / CODEC).read_bytes()]


def codec(path: Path) -> bool:
    """A codec whose sizes are those of its weights."""
    folder = own_folder("codec")
    shutil.copyfile(path, folder / CODEC)
    try:
        load_codec(folder)
    except CodecError as error:
        raise CodecError(str(error).replace(str(folder), "")) from None
    return True


def hub_seeds(name: str) -> list[bytes]:
    """A file of a model folder in Hugging Face's layout, whose other files are in a folder of the process."""
    folder = own_folder(f"hub-{name}")
    pairs = BpeTokenizer.train(["the cat sat"], 260).state()["bpe"]
    rows, width, places = len(pairs["model"]["vocab"]) + 1, 8, 12
    config = {
        "model_type": "gpt2", "vocab_size": rows, "n_positions": places, "n_embd": width, "n_layer": 1, "n_head": 2,
        "eos_token_id": rows - 1, "n_inner": None, "activation_function": "gelu_new", "resid_pdrop": 0.1,
    }  # fmt: skip
    shapes = {"wte": (rows, width), "wpe": (places, width)}
    tensors = {f"{name}.weight": torch.ones(shape) for name, shape in shapes.items()}
    for part, outer, inner in (
        ("attn.c_attn", 8, 24),
        ("attn.c_proj", 8, 8),
        ("mlp.c_fc", 8, 32),
        ("mlp.c_proj", 32, 8),
    ):
        tensors |= {f"h.0.{part}.weight": torch.ones(outer, inner), f"h.0.{part}.bias": torch.ones(inner)}
    for part in ("h.0.ln_1", "h.0.ln_2", "ln_f"):
        tensors |= {f"{part}.weight": torch.ones(width), f"{part}.bias": torch.ones(width)}
    (folder / "model.safetensors").write_bytes(save(tensors))
    for file, content in (("config.json", config), ("tokenizer.json", pairs)):
        (folder / file).write_text(json.dumps(content))
    return [(folder / name).read_bytes()]


def hub(path: Path, name: str) -> bool:
    """A bundle that can be spoken to."""
    folder = own_folder(f"hub-{name}")
    shutil.copyfile(path, folder / name)
    try:
        found = import_folder(folder)
    except ImportingError as error:
        raise ImportingError(str(error).replace(str(folder), "")) from None
    tokenizer = found.sequencer.tokenizers["text"]
    if isinstance(tokenizer, BpeTokenizer):
        assert isinstance(tokenizer.decode(tokenizer.encode("the cat")), str)
    return True


EXPECTED = {"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.int64)}


def weights_seeds() -> list[bytes]:
    """With and without notes."""
    half = {"a": torch.ones(2, 3), "b": torch.arange(4), "c": torch.ones(3, dtype=torch.bfloat16)}
    return [save(dict(EXPECTED)), save(half, {"format": "pt"})]


def weights(path: Path) -> bool:
    """Tensors; sometimes those that are expected."""
    read_weights(path, EXPECTED if odd(path) else None)
    return True


def checkpoint_seeds() -> list[bytes]:
    """What a training leaves: weights, states of optimizers, plain values."""
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        shared = torch.arange(6, dtype=dtype).view(2, 3)
        state = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": shared.t()}}, "param_groups": [{"lr": 0.1}]}
        whole = {
            "state_dict": {"a.weight": shared, "b": torch.ones(2)}, "optimizer_states": [state],
            "hyper_parameters": {"width": 8, "betas": (0.9, 0.95), "name": "x", "none": None}, "epoch": 3,
        }  # fmt: skip
        file = io.BytesIO()
        torch.save(whole, file)
        found.append(file.getvalue())
    return found


def checkpoint(path: Path) -> bool:
    """Tensors and plain values."""
    return "state_dict" in read_checkpoint(path)


# --- all of them


def flipped(rng: Random, seeds: Sequence[bytes]) -> bytes:
    """Bytes changed without any knowledge of what they are."""
    return blob(rng, rng.choice(seeds))


def _pictures(name: str, suffix: str, mutate: Callable, few: int = 200) -> Parser:
    return Parser(name, suffix, partial(picture_seeds, name.upper()), mutate, picture, (ImageError,), few)


def _models(name: str, seeds: Callable, read: Callable, refusal: type[Exception], few: int = 60) -> Parser:
    """JSON of which every name and number has to fit all others: few of the mutated are read."""
    return Parser(name, ".json", seeds, json_file, read, (refusal,), few, least=0.0)


def other_sounds() -> list[bytes]:
    """Kinds that libsndfile reads too."""
    return [encoded("AIFF"), encoded("AU"), encoded("CAF"), encoded("CAF", "ALAC_16"), encoded("W64")]


_ALL = [
    Parser("midi", ".mid", midi_seeds, midi_mutator.midi, midi, (MidiError,)),
    _pictures("png", ".png", picture_mutators.png),
    _pictures("jpeg", ".jpg", picture_mutators.jpeg),
    _pictures("gif", ".gif", picture_mutators.gif),
    _pictures("webp", ".webp", picture_mutators.webp),
    _pictures("tiff", ".tif", picture_mutators.tiff),
    Parser("wav", ".wav", wav_seeds, sound_mutators.wav, sound, (AudioError,)),
    Parser("flac", ".flac", flac_seeds, sound_mutators.flac, sound, (AudioError,)),
    Parser("ogg", ".ogg", ogg_seeds, sound_mutators.ogg, sound, (AudioError,)),
    Parser("mp3", ".mp3", mp3_seeds, sound_mutators.mp3, sound, (AudioError,)),
    Parser("lrc", ".lrc", lambda: [SONG], text_mutators.lrc, lyrics, (ValueError,), most=1.0),
    Parser("csv", ".csv", partial(list_seeds, LIST), text_mutators.table, manifest, (DataError,)),
    Parser("jsonl", ".jsonl", partial(list_seeds, LINES), text_mutators.jsonl, manifest, (DataError,)),
    Parser("coco", ".json", partial(list_seeds, COCO), json_file, manifest, (DataError,)),
    _models("bundle", partial(bundle_seeds, "words"), partial(bundle, kind="words"), BundleError, 100),
    Parser("safetensors", ".safetensors", weights_seeds, archive_mutators.safetensors, weights, (WeightsError,)),
    Parser("checkpoint", ".ckpt", checkpoint_seeds, archive_mutators.checkpoint, checkpoint, (TrainingError,)),
    Parser("tar", ".tar", tar_seeds, archive_mutators.tar, shard, (), most=1.0),
    # Beyond those of which the structure is known, and further models
    _models("music", partial(bundle_seeds, "music"), partial(bundle, kind="music"), BundleError),
    _models("codec", codec_seeds, codec, CodecError),
    _models("hub-config", partial(hub_seeds, "config.json"), partial(hub, name="config.json"), ImportingError),
    _models("hub-pairs", partial(hub_seeds, "tokenizer.json"), partial(hub, name="tokenizer.json"), ImportingError),
    _pictures("bmp", ".bmp", flipped, 100),
    Parser("others", ".aiff", other_sounds, flipped, sound, (AudioError,), 100),
]
PARSERS = {parser.name: parser for parser in _ALL}
