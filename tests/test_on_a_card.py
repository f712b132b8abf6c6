"""Everything that runs on a device gives there what it gives on the CPU: on a pretended card, and on a real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from guided_worlds import model as guided_model
from image_bundles import image_bundle, picture
from pretend_card import Card
from sound_bundles import RATE, noise, sound_bundle

from helicon.data.collate import collate
from helicon.data.corpus_writer import write_corpus
from helicon.evaluation.features import layer_features
from helicon.evaluation.losses import corpus_nats
from helicon.formats.spectra import log_mel, mel_distance, si_sdr
from helicon.generation.decode_request import Prompt, Sampling
from helicon.generation.engine import decode
from helicon.generation.ranking import fit_to_conditions, item_nats
from helicon.gpt.cross_entropy import Scored
from helicon.gpt.model import GPT, GPTConfig
from helicon.gpt.numbers import cast
from helicon.gpt.sampler import logits_processors
from helicon.objectives.base import Batch
from helicon.objectives.next_token import slot_nats
from helicon.sampling import SamplingOptions
from helicon.sequence.layout import PatternContext
from helicon.training.codecs.audio_losses import LossScales, LossWeights, resolutions, sound_loss
from helicon.training.learning.optimizers import MuonAdamW
from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.config import AudioCodecConfig, ImageCodecConfig

pytestmark = pytest.mark.usefixtures("one_thread")

PATTERNS = "strided:6,row,column,conv:3,block:8,summary:8,3,local:7,previous:8,fixed:8,2,dense"
WORDS = np.frombuffer(b"red", np.uint8).astype(np.int64)


@pytest.fixture(autouse=True)
def exact_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def gpt_of(dtype: torch.dtype = torch.float64, **settings) -> GPT:
    """All patterns, a layer each, with weights large enough that everything depends on everything."""
    torch.manual_seed(0)
    settings = {"mlp": "swiglu", "norm": "rms", "qk_norm": True, **settings}
    gpt = GPT(GPTConfig(layers=10, width=32, heads=2, pattern=PATTERNS, **settings), 20, 10, rope=True).to(dtype)
    for parameter in gpt.parameters():
        parameter.data.mul_(4 if parameter.dim() > 1 else 1)
    return gpt


def tokens(*shape: int, below: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(below, shape, generator=torch.Generator().manual_seed(seed))


def on_both(made: Callable[[str], torch.Tensor], atol: float = 1e-9) -> None:
    """What is made on the CPU and on the card, compared."""
    expected, found = made("cpu"), made("cuda")
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), expected, atol=atol, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["fp64", "fp32"])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_hidden_states_and_gradients(card: Card, dtype: torch.dtype, checkpoint: bool):
    def made(device: str) -> torch.Tensor:
        gpt = gpt_of(dtype).to(device)
        gpt.checkpoint = checkpoint
        ids, rows = tokens(2, 29, below=20).to(device), tokens(2, 29, 2, below=10).to(device)
        hidden = gpt(ids, rows, PatternContext(5, 6), lengths_B=torch.tensor([29, 17], device=device))
        targets = tokens(12, below=7).to(device)
        loss = gpt.nll_sum([Scored(hidden[:, 3:9].flatten(0, 1), slice(2, 9), targets)]).sum()
        loss.backward()
        gradients = [parameter.grad.flatten() for parameter in gpt.parameters() if parameter.grad is not None]
        return torch.cat([hidden.flatten(), loss[None], *gradients])

    on_both(made, 1e-9 if dtype == torch.float64 else 1e-2)


@torch.inference_mode()
def test_a_cached_step_is_the_uncached_row(card: Card):
    gpt = gpt_of().to("cuda")
    ids, rows = tokens(2, 29, below=20).to("cuda"), tokens(2, 29, 2, below=10).to("cuda")
    whole, cache = gpt(ids, rows, PatternContext(5, 6)), gpt.new_cache(2, 29)
    gpt(ids[:, :7], rows[:, :7], PatternContext(5, 6), cache)
    for place in range(7, 29):
        position_B = torch.full((2,), place, device="cuda")
        step = gpt.step(ids[:, place], rows[:, place], position_B, PatternContext(5, 6), cache, kv_length=place + 1)
        torch.testing.assert_close(step, whole[:, place], atol=1e-9, rtol=0)


DECODED = {
    "pictures": (["text[4] image[]", "image[] text[4]"], 1.0),
    "pictures, guided": (["text[4] image[]"], 2.0),
    "captions": (["image[] text[4]"], 1.0),
}


@pytest.mark.parametrize("engine", ["eager", "graph"])
@pytest.mark.parametrize(("specs", "guidance"), DECODED.values(), ids=DECODED)
def test_the_same_seed_makes_the_same_tokens(card: Card, specs: list[str], guidance: float, engine):
    bundle = image_bundle(*specs)
    layout, chain = (
        bundle.schema.layouts[0],
        logits_processors(SamplingOptions(temperature=1.2, top_k=20, top_p=0.9, min_p=0.01, repetition_penalty=1.1)),
    )
    image = bundle.sequencer.tokenizers["image"].encode(picture(0))
    given = {"text": WORDS} if layout.target.name == "image" else {"image": image}
    prompts = [Prompt(given), Prompt(given, image[:3] if layout.target.name == "image" else WORDS[:1])]
    sampling = Sampling(chain=chain, seed=3, guidance=guidance)
    gpt = bundle.gpt.double()
    expected = decode(gpt, bundle.sequencer, layout, prompts, sampling, backend="eager")
    gpt.to("cuda")
    found = decode(gpt, bundle.sequencer, layout, prompts, sampling, backend=engine)
    assert [ids.tolist() for ids in found] == [ids.tolist() for ids in expected]


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_token_of_a_picture_waits_for_nothing(card: Card, engine):
    bundle = image_bundle("text[4] image[]")
    (layout,), gpt = bundle.schema.layouts, bundle.gpt.to("cuda")
    waits = []
    for count in (2, 10):
        card.waits.clear()
        decode(gpt, bundle.sequencer, layout, [Prompt({"text": WORDS})] * 3, Sampling(max_tokens=count), backend=engine)
        waits.append(list(card.waits))
    assert waits[0] == waits[1]


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_guides_grammars_and_moving_windows_are_followed(card: Card, engine):
    sequencer, gpt = guided_model("text[2] lyrics[3] audio@above", pattern="strided:3")
    (layout,) = sequencer.schema.layouts
    prompts = [Prompt({"text": np.array([1]), "lyrics": np.arange(5) % 5, "above": np.arange(n) % 3}) for n in (5, 8)]
    expected = decode(gpt, sequencer, layout, prompts, Sampling(seed=2), backend="eager")
    found = decode(gpt.to("cuda"), sequencer, layout, prompts, Sampling(seed=2), backend=engine)
    assert [len(ids) for ids in found] == [20, 32]
    assert [ids.tolist() for ids in found] == [ids.tolist() for ids in expected]


@pytest.mark.parametrize("numbers", ["bf16", "int8"])
def test_fewer_bits_make_tokens_too(card: Card, numbers: str):
    bundle = image_bundle("text[4] image[]")
    (layout,), gpt = bundle.schema.layouts, cast(bundle.gpt, numbers).to("cuda")
    (made,) = decode(gpt, bundle.sequencer, layout, [Prompt({"text": WORDS})], Sampling(seed=1))
    assert len(made) == 16
    assert set(made.tolist()) <= {0, 1, 2, 3}


def training_batch(bundle, count: int = 6) -> Batch:
    (layout,) = bundle.schema.layouts
    tokenizer = bundle.sequencer.tokenizers["image"]
    examples = [{"text": WORDS[: i % 4], "image": tokenizer.encode(picture(i))} for i in range(count)]
    return collate(0, [bundle.sequencer.pack(layout, example) for example in examples])


def test_a_few_steps_learn_and_wait_for_little(card: Card):
    bundle = image_bundle("text[4] image[]")
    gpt, batch = bundle.gpt.to("cuda").train(), training_batch(bundle)
    batch = batch.to("cuda")
    matrices = [p for name, p in gpt.named_parameters() if p.dim() > 1 and name.startswith("layers")]
    rest = [p for name, p in gpt.named_parameters() if p.dim() < 2 or not name.startswith("layers")]
    optimizer, losses = MuonAdamW(matrices, rest, 0.01, 0.0, 0.95), []
    for _ in range(12):
        card.waits.clear()
        optimizer.zero_grad()
        (total, count), *_ = slot_nats(gpt, bundle.sequencer, batch, {"image"}).values()
        (total / count).backward()
        optimizer.step()
        waits = list(card.waits)
        losses.append(float(total.detach()) / count)
    assert losses[-1] < 0.9 * losses[0]
    assert len(waits) <= 2, waits  # how many tokens are real, and how many targets


def test_a_model_is_measured_scored_and_its_features_found(card: Card, tmp_path: Path):
    bundle = image_bundle("text[4] image[]", "image[] text[4]")
    layout, sizes = bundle.schema.layouts[0], {"text": 256, "image": 4}
    examples = [
        {"text": WORDS[: i % 4], "image": bundle.sequencer.tokenizers["image"].encode(picture(i))} for i in range(5)
    ]
    rows = [(str(i), None, False, example) for i, example in enumerate(examples)]
    corpus = write_corpus(tmp_path, str(layout), rows, sizes)

    def found() -> list[float]:
        nats, targets = corpus_nats(bundle.gpt, bundle.sequencer, corpus, layout, range(5), batch=2)
        scores = item_nats(bundle, layout, examples, "image")
        fits = fit_to_conditions(bundle, layout, {"text": WORDS}, [example["image"] for example in examples])
        means = layer_features(bundle, corpus, layout, [0, 1], batch=2)
        return [nats, targets, *scores.tolist(), *fits.tolist(), *means[0].flatten(), *means[1].flatten()]

    expected = found()
    bundle.gpt.to("cuda")
    assert found() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("quantizer", ["ema", "gumbel", "fsq"])
@pytest.mark.parametrize("likelihood", ["l2", "logit-laplace"])
def test_a_codec_of_pictures(card: Card, quantizer, likelihood):
    torch.manual_seed(0)
    shape = ImageCodecConfig(
        factor=4, width=16, blocks=1, quantizer=quantizer, codes=8, code_width=4, levels=(3, 3), likelihood=likelihood
    )
    codec = ImageCodec(shape).train()
    media = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for _ in range(6):  # until its codebook has begun
        codec(media)
    codec.eval()

    def made(device: str) -> torch.Tensor:
        codec.to(device)
        codes = codec.encode(media.to(device))
        return torch.cat([codes.flatten(), codec.decode(codes).flatten()])

    on_both(made, 1e-3)
    fresh = ImageCodec(shape).to("cuda").train()
    assert learns(fresh, media.to("cuda"), card)


@pytest.mark.parametrize("quantizer", ["ema", "gumbel", "fsq"])
def test_a_codec_of_sound(card: Card, quantizer):
    torch.manual_seed(0)
    shape = AudioCodecConfig(
        hops=(4, 16), rate=RATE, width=8, depth=1, quantizer=quantizer, codes=8, code_width=4, levels=(3, 3)
    )
    level = AudioCodec(shape).level(0).train()
    sound = torch.from_numpy(noise(1000).samples.T.copy())
    for _ in range(6):
        level(sound[None])
    level.eval()

    def made(device: str) -> torch.Tensor:
        level.to(device)
        codes = level.encode_long(sound.to(device))
        assert torch.equal(codes, level.encode_many([sound])[0].to(device))
        return torch.cat([codes, level.decode_long(codes).flatten()])

    on_both(made, 1e-3)
    fresh = AudioCodec(shape).level(0).to("cuda").train()
    assert learns(fresh, sound[None].to("cuda"), card)


def learns(codec: torch.nn.Module, media: torch.Tensor, card: Card) -> bool:
    """Whether steps of training, a fresh codebook's first ones too, give gradients and wait for nothing once it is."""
    for _ in range(6):
        card.waits.clear()
        loss = sum(part.float().square().mean() for part in codec(media)[::2])
        assert isinstance(loss, torch.Tensor)
        loss.backward()
    assert not card.waits, card.waits
    return all(p.grad is not None and bool(p.grad.isfinite().all()) for p in codec.parameters())


def test_figures_and_losses_of_sound(card: Card):
    sounds = torch.from_numpy(np.stack([noise(2000, seed).samples.T for seed in range(2)]))
    scales = LossScales(0.1, tuple(1.0 for _ in resolutions(RATE)))

    def made(device: str) -> torch.Tensor:
        one, other = sounds.clone().to(device).requires_grad_(), sounds.flip(0).to(device)
        loss = sound_loss(one, other, torch.ones(2, 1, 2000, device=device), RATE, scales, LossWeights())
        (gradient,) = torch.autograd.grad(loss, one)
        figures = [loss[None], gradient.flatten(), mel_distance(one, other, RATE)[None], si_sdr(one, other).flatten()]
        return torch.cat([*figures, log_mel(one, RATE).flatten()]).detach()

    on_both(made, 1e-3)


def test_codes_become_media_together(card: Card):
    """Sounds of a bundle whose codec is on the card; the model makes codes, the codec one batch of waveforms."""
    here = sound_bundle().sequencer.tokenizers["audio"]
    there, ids = here.to("cuda"), [np.arange(n) % 18 for n in (7, 12, 12)]
    expected = here.decode_many(ids)
    for found, sound in zip(there.decode_many(ids), expected, strict=True):
        np.testing.assert_allclose(found.samples, sound.samples, atol=1e-3)
    assert [len(codes) for codes in there.encode_many(expected)] == [7, 12, 12]
