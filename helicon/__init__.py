"""One GPT for every medium: files become token sequences, a GPT learns them, and its samples become files again."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helicon.api.models import export_model, import_model, info, load, save_model
    from helicon.api.results import Lines, Results
    from helicon.api.training import demo, repeat, resume, train
    from helicon.api.using import classify, detokenize, doctor, evaluate, features, reconstruct, sample, save, tokenize
    from helicon.bundle.bundle import Bundle
    from helicon.evaluation.classification import Classification
    from helicon.evaluation.features import Features
    from helicon.evaluation.measure import Evaluation
    from helicon.evaluation.reconstruction import Reconstruction
    from helicon.formats.read_report import ReadReport
    from helicon.formats.score import Score
    from helicon.generation.item import Item
    from helicon.generation.ranking import Candidates, register_judge
    from helicon.gpt.attention.pattern_base import AttentionPattern
    from helicon.gpt.attention.patterns import register_pattern
    from helicon.gpt.sampler import register_sampler_step
    from helicon.modalities.base import Modality, TokenizerSpec
    from helicon.modalities.registry import register_modality, register_tokenizer
    from helicon.objectives.base import Batch, Mean, Network, Objective, Referred, Rewarded, Rollouts
    from helicon.objectives.next_token import NextToken
    from helicon.objectives.registry import register_objective
    from helicon.sequence.vocabulary import TokenBlock
    from helicon.tokenizers.base import Tokenizer
    from helicon.vqvae.config import AudioCodecConfig, ImageCodecConfig, QuantizerConfig, QuantizerLearning
    from helicon.vqvae.nets import Nets, NetSizes, register_codec_net
    from helicon.vqvae.quantizers import Quantized, Quantizer, register_quantizer
    from helicon.vqvae.storage import CodecBundle

__version__ = "0.2.0"

# name -> where it is. Imported when first asked for: `import helicon` and `helicon --help` must not load PyTorch.
_EXPORTS = {
    "AttentionPattern": "helicon.gpt.attention.pattern_base",
    "AudioCodecConfig": "helicon.vqvae.config",
    "Batch": "helicon.objectives.base",
    "TokenBlock": "helicon.sequence.vocabulary",
    "Bundle": "helicon.bundle.bundle",
    "Candidates": "helicon.generation.ranking",
    "Classification": "helicon.evaluation.classification",
    "CodecBundle": "helicon.vqvae.storage",
    "Evaluation": "helicon.evaluation.measure",
    "Features": "helicon.evaluation.features",
    "ImageCodecConfig": "helicon.vqvae.config",
    "Item": "helicon.generation.item",
    "Lines": "helicon.api.results",
    "Mean": "helicon.objectives.base",
    "Modality": "helicon.modalities.base",
    "NetSizes": "helicon.vqvae.nets",
    "Nets": "helicon.vqvae.nets",
    "Network": "helicon.objectives.base",
    "NextToken": "helicon.objectives.next_token",
    "Objective": "helicon.objectives.base",
    "Quantized": "helicon.vqvae.quantizers",
    "Quantizer": "helicon.vqvae.quantizers",
    "QuantizerConfig": "helicon.vqvae.config",
    "QuantizerLearning": "helicon.vqvae.config",
    "ReadReport": "helicon.formats.read_report",
    "Referred": "helicon.objectives.base",
    "Results": "helicon.api.results",
    "Rewarded": "helicon.objectives.base",
    "Rollouts": "helicon.objectives.base",
    "Reconstruction": "helicon.evaluation.reconstruction",
    "Score": "helicon.formats.score",
    "Tokenizer": "helicon.tokenizers.base",
    "TokenizerSpec": "helicon.modalities.base",
    "classify": "helicon.api.using",
    "demo": "helicon.api.training",
    "detokenize": "helicon.api.using",
    "doctor": "helicon.api.using",
    "evaluate": "helicon.api.using",
    "export_model": "helicon.api.models",
    "features": "helicon.api.using",
    "import_model": "helicon.api.models",
    "info": "helicon.api.models",
    "load": "helicon.api.models",
    "reconstruct": "helicon.api.using",
    "register_codec_net": "helicon.vqvae.nets",
    "register_judge": "helicon.generation.ranking",
    "register_modality": "helicon.modalities.registry",
    "register_objective": "helicon.objectives.registry",
    "register_pattern": "helicon.gpt.attention.patterns",
    "register_quantizer": "helicon.vqvae.quantizers",
    "register_sampler_step": "helicon.gpt.sampler",
    "register_tokenizer": "helicon.modalities.registry",
    "repeat": "helicon.api.training",
    "resume": "helicon.api.training",
    "sample": "helicon.api.using",
    "save": "helicon.api.using",
    "save_model": "helicon.api.models",
    "tokenize": "helicon.api.using",
    "train": "helicon.api.training",
}

__all__ = [
    "AttentionPattern",
    "AudioCodecConfig",
    "Batch",
    "Bundle",
    "Candidates",
    "Classification",
    "CodecBundle",
    "Evaluation",
    "Features",
    "ImageCodecConfig",
    "Item",
    "Lines",
    "Mean",
    "Modality",
    "NetSizes",
    "Nets",
    "Network",
    "NextToken",
    "Objective",
    "Quantized",
    "Quantizer",
    "QuantizerConfig",
    "QuantizerLearning",
    "ReadReport",
    "Reconstruction",
    "Referred",
    "Results",
    "Rewarded",
    "Rollouts",
    "Score",
    "TokenBlock",
    "Tokenizer",
    "TokenizerSpec",
    "classify",
    "demo",
    "detokenize",
    "doctor",
    "evaluate",
    "export_model",
    "features",
    "import_model",
    "info",
    "load",
    "reconstruct",
    "register_codec_net",
    "register_judge",
    "register_modality",
    "register_objective",
    "register_pattern",
    "register_quantizer",
    "register_sampler_step",
    "register_tokenizer",
    "repeat",
    "resume",
    "sample",
    "save",
    "save_model",
    "tokenize",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'helicon' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
