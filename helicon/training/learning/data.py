"""Data module of a GPT: a folder of files as batches of token sequences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import load_bundle
from helicon.data.batches import Stream, TrainBatches, Variation, WindowStream, chosen_examples, val_windows
from helicon.data.collate import gather
from helicon.data.config import SequenceDataConfig
from helicon.data.corpus import Corpus
from helicon.data.files import DataError
from helicon.data.labelled import label_numbers, labels_of
from helicon.data.mixture import MixedStream, shares_of
from helicon.data.packing import full_batches
from helicon.data.pairs import PairStream
from helicon.data.prepare import prepare
from helicon.data.prepared import Prepared
from helicon.data.source import DataSource
from helicon.data.streaming.feeder import Feeder
from helicon.data.streaming.head import prepare_stream
from helicon.data.streaming.opening import open_stream
from helicon.data.workers import cores
from helicon.formats.checked import texts
from helicon.formats.json_files import parse_json
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.progress import log
from helicon.formats.validation import join_records, record_state, restore_record
from helicon.modalities import registry
from helicon.modalities.guarded import check_any_ids
from helicon.objectives.base import MAX_LABELS, NO_LABEL, Batch, Examples
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.codec import tokenizer_weights
from helicon.tokenizers.sequencer import NO_TARGET, Sequencer
from helicon.training.learning.loaders import eval_loader, train_loader
from helicon.training.learning.named import codec_tokenizer, named_tokenizer, record_at


class SequenceData(pl.LightningDataModule):
    """Data module of a folder, searched recursively and tokenised once into a cache.

    Batch t is a function of (data, seed, t), on any number of processes and workers.

    Args:
        config: files, layouts, tokenizers and batches.
        context: input tokens of a sequence at most.
        positions: coordinate scheme, `flat`, `grid:L`, `axes` or `rope`, as in `GPTModelConfig`.
        examples: kind of examples that the objective needs.

    Attributes:
        init_bundle: bundle of `--data.init_from`, whose tokenizers are used and whose weights are copied; else None.
        source: files and options that the cache depends on.
        reading: options by which files are read, as the bundle stores them.
        labels: label names of a classifier by number; () for other objectives.
        prepared: tokenizers and corpora; None before `prepare_data`. Of a stream they are those of its beginning.
        stream: whether the training part is tokenised while training.
        feeder: of a stream, once there are batches.

    Raises:
        DataError: an option is unknown to these media, or contradicts a tokenizer that is there already.
    """

    def __init__(
        self, config: SequenceDataConfig, context: int = 512, positions: str = "flat",
        examples: Examples = "sequences",
    ) -> None:  # fmt: skip
        super().__init__()
        if config.stream and examples != "sequences":
            raise DataError(f"--data.stream true: {examples} are not read from a stream; a GPT's sequences are")
        self.stream = config.stream
        self.feeder: Feeder | None = None
        self.init_bundle: Bundle | None = load_bundle(Path(config.init_from)) if config.init_from else None
        self.layouts = [Layout.parse(layout) for layout in config.layouts]
        sources = [layout.all_slots for layout in self.layouts]
        slots = list(dict.fromkeys(slot for names in sources for slot in names))
        media = {registry.for_slot(slot, names).name: None for names in sources for slot in names}
        config.check_media(media)
        chosen = {**(config.tokenizers or {}), **named_tokenizer(slots, config.tokenizer)}
        self._codecs = {slot: pair for slot, name in chosen.items() if (pair := codec_tokenizer(slot, name))}
        records = [record_at(chosen[slot]) for slot in self._codecs]
        records += [self.init_bundle.record] if self.init_bundle else []
        choices = {**chosen, **{slot: kind for slot, (kind, _) in self._codecs.items()}}
        if self.init_bundle:
            choices |= {slot: name for slot, name in self.init_bundle.tokenizer_names.items() if slot in slots}
        # Volumes beyond those of the files are in the vocabulary only if augmentation can change the volume
        options = {"volume_margin": int(config.augment), **config.of_media}
        options |= {} if config.max_mb is None else {"max_mb": config.max_mb}
        for name, value in registry.read_options(sources, self.init_bundle.reading).items() if self.init_bundle else []:
            if options.setdefault(name, value) != value:
                raise DataError(
                    f"--data.{name} {options[name]}: {config.init_from} was trained on files that are read with {value}"
                )
        for slot, known in self.pretrained_tokenizers.items():
            for name, value in known.read_options.items():
                if options.setdefault(name, value) != value:
                    raise DataError(f"--data.{name} {options[name]}: the tokenizer of {slot} was made for {value}")
        self.examples: Examples = examples
        self.labels: tuple[str, ...] = ()
        labelled = examples == "labelled"
        self.source = replace(
            DataSource.of(config, tuple(config.layouts), choices, options), grow=not labelled, examples=examples,
            labels=() if labelled else None, record=join_records(*records),
        )  # fmt: skip
        self.reading = registry.read_options(sources, options)
        known = self.reading | registry.source_values(sources, options)
        for name in config.of_media.keys() - known.keys() - registry.fitting_options():
            raise DataError(f"--data.{name}: files of {', '.join(slots)} are not read with it; {_accepted(known)}")
        self.context, self.positions = context, positions
        self.batch_size, self.seed, self.workers = config.batch_size, config.seed, config.workers
        self.val_batches = config.val_batches
        self._weights, self._temperature = [s.weight for s in config.sources or ()], config.temperature or 1.0
        self.variation = Variation(config.ranges(media), config.condition_dropout, config.plan)
        self.prepared: Prepared | None = None
        self._sequencer: Sequencer | None = None
        self._restored: dict[str, Tokenizer] | None = None

    @property
    def pretrained_tokenizers(self) -> dict[str, Tokenizer]:
        """Slot -> tokenizer that is not fitted: those of a codec, and of a bundle that is fine-tuned."""
        of_codecs = {slot: tokenizer for slot, (_, tokenizer) in self._codecs.items()}
        return {**of_codecs, **(self.init_bundle.sequencer.tokenizers if self.init_bundle else {})}

    @property
    def sequencer(self) -> Sequencer:
        """`Sequencer` of the layouts and tokenizers, once prepared."""
        assert self._sequencer is not None, "setup() comes first"
        return self._sequencer

    @property
    def tokenizer_names(self) -> dict[str, str]:
        """Slot -> name of its tokenizer in the registry, once prepared."""
        assert self.prepared is not None
        return self.prepared.tokenizer_names

    @property
    def corpora(self) -> list[Corpus]:
        """`Corpus` of each layout, in their order, once prepared."""
        assert self.prepared is not None, "prepare_data() comes first"
        return self.prepared.corpora

    def prepare_data(self) -> None:
        """Fit the tokenizers and build the token cache, on rank 0 alone, and log what was read."""
        if self.prepared is None:
            log(self._prepare(log).summary())
            for corpus in self.corpora:
                if shares := self.shares(corpus):
                    log(f"mixture    {self._mixture(corpus, shares)}, `{corpus.layout}`")

    def setup(self, stage: str) -> None:
        """Open the cache and make the sequencer.

        Args:
            stage: Lightning's; only in `fit` training examples are needed.

        Raises:
            DataError: a layout has no training examples, or no labels where they are needed.
        """
        self.prepared = self.prepared or self._prepare()
        if self._sequencer is None:
            self._sequencer = Sequencer(self.layouts, self.prepared.tokenizers, self.context, self.positions)
        if self.examples == "labelled" and not self.labels:
            self.labels = labels_of(self.prepared.corpora, str(self.source.path))
        for corpus, layout in zip(self.prepared.corpora, self.layouts) if stage == "fit" else ():
            if not len(corpus):
                check_any_ids(layout.target.name, self.tokenizer_names[layout.target.name])
            if not len(self._training_examples(corpus)):
                raise DataError(f"{self.source.path}: nothing is left to train on for `{corpus.layout}`")
        for number, origin in enumerate(self.source.origins) if stage == "fit" else ():
            if not any(corpus.tokens(val=False, origin=number) for corpus in self.prepared.corpora):
                raise DataError(f"{origin.path}: nothing is left to train on")

    def _mixture(self, corpus: Corpus, shares: Mapping[int, float]) -> str:
        """Describe the mixture of sources: share of the batches, and how many tokens each has."""
        return ", ".join(
            f"{share:.1%} of {printable(self.source.origins[i].name, MAX_QUOTED)} "
            f"({corpus.tokens(val=False, origin=i):,} tokens)"
            for i, share in shares.items()
        )

    def _training_examples(self, corpus: Corpus) -> np.ndarray:
        """Return the training pairs, or the indices of the training examples."""
        if self.examples == "pairs":
            return corpus.select_pairs(val=False)
        return chosen_examples(corpus, val=False, labels=self.label_ids(corpus))

    def label_ids(self, corpus: Corpus) -> np.ndarray | None:
        """Return the label number of each example of a `Corpus`, NumPy int64 [examples].

        None unless they are labelled.
        """
        return label_numbers(corpus, self.labels) if self.examples == "labelled" else None

    def _prepare(self, log: Any = lambda line: None) -> Prepared:
        make = prepare_stream if self.stream else prepare
        self.prepared = make(self.source, self.pretrained_tokenizers, log, self._restored)
        return self.prepared

    def state_dict(self) -> dict[str, Any]:
        """Return tokenizers and labels for a checkpoint, so that a resumed run does not fit them again.

        Returns:
            `choices`: slot -> tokenizer name; `states`: JSON of slot -> state; `weights`: slot -> tensors of a codec;
            `labels`: list of names; `validation`: state of the `ValidationRecord`.
        """
        tokenizers = self.sequencer.tokenizers
        states = {slot: tokenizer.state() for slot, tokenizer in tokenizers.items()}
        weights = {slot: tokenizer_weights(tokenizer) for slot, tokenizer in tokenizers.items()}
        kept = {"choices": dict(self.tokenizer_names), "states": json.dumps(states), "weights": weights}
        assert self.prepared is not None
        return {**kept, "labels": list(self.labels), "validation": record_state(self.prepared.record)}

    def restore(self, state: dict[str, Any]) -> None:
        """Set tokenizers, labels and validation files from a checkpoint's `state_dict`, whatever the folder has now."""
        choices, states, weights = state["choices"], parse_json(state["states"].encode()), state["weights"]
        self._restored = {s: registry.restore_tokenizer(s, choices[s], states[s], weights.get(s)) for s in choices}
        self.labels = tuple(texts("labels", state["labels"], MAX_LABELS))
        known = self.labels if self.examples == "labelled" else None
        record = restore_record(state.get("validation"))
        self.source = replace(self.source, tokenizers=choices, labels=known, record=record)

    @cached_property
    def batches(self) -> TrainBatches:
        """`TrainBatches` of this rank, drawn from the streams of all layouts.

        Raises:
            DataError: the batch size is no multiple of the number of processes.
        """
        trainer = self.trainer
        assert trainer is not None
        assert self.prepared is not None
        if self.batch_size % trainer.world_size:
            raise DataError(f"--data.batch_size {self.batch_size} is not a multiple of {trainer.world_size} processes")
        if self.stream:
            # Loader processes make two batches each ahead, the thread without them two, and Lightning one
            near, processes = 2 * max(1, self.workers) + 2, max(1, cores() // trainer.num_devices)
            streams, self.feeder = open_stream(
                self.source, self.prepared, self.sequencer, self.seed, self.batch_size, self.variation, near, processes
            )
        else:
            layouts = self.sequencer.schema.layouts
            streams = [self._stream(corpus, layout) for corpus, layout in zip(self.prepared.corpora, layouts)]
        return TrainBatches(streams, 0, trainer.global_rank, trainer.world_size)

    def _stream(self, corpus: Corpus, layout: Layout) -> Stream:
        if self.examples == "pairs":
            return PairStream(corpus, self.sequencer, layout, self.seed, self.batch_size)
        labels, how = self.label_ids(corpus), self.variation
        shares = self.shares(corpus)
        streams = [
            WindowStream(corpus, self.sequencer, layout, self.seed, self.batch_size, how, labels, origin=origin)
            for origin in shares or (None,)
        ]
        return MixedStream(streams, list(shares.values()), self.seed) if shares else streams[0]

    def shares(self, corpus: Corpus) -> dict[int, float]:
        """Return the share of each of several sources in the training batches of a corpus.

        Args:
            corpus: `Corpus` of a layout.

        Returns:
            Number of the source -> share, without sources that have nothing to train on for this layout; {} where all
            examples are from one source.
        """
        tokens = {i: corpus.tokens(val=False, origin=i) for i in range(len(self.source.origins))}
        tokens = {i: n for i, n in tokens.items() if n}
        weights = [weight for i in tokens if (weight := self._weights[i]) is not None]  # of all sources, or of none
        return dict(zip(tokens, shares_of(list(tokens.values()), weights or None, self._temperature)))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of training batches, which begins at the trainer's current step."""
        return train_loader(self.batches, self.trainer, self.workers, self.feeder)

    def teardown(self, stage: str) -> None:
        """End the thread that feeds a stream, after Lightning's stage."""
        self.close()

    def close(self) -> None:
        """End the thread that feeds a stream, if there is one, and remove what it has made."""
        if self.feeder is not None:
            self.feeder.stop()

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of held-out windows, at most `val_batches` batches spread evenly over all of them."""
        return self._eval_loader(self.val_batches, "limit_val_batches")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the loader of all held-out windows."""
        return self._eval_loader(None, "limit_test_batches")

    def _eval_loader(self, limit: int | None, option: str) -> DataLoader[Batch]:
        """Pack held-out windows into batches. option: Trainer's limit of them, beside `limit`."""
        assert self.prepared is not None
        assert self.trainer is not None
        sources = list(zip(self.prepared.corpora, self.sequencer.schema.layouts))
        # Of each batch: index of the layout, number of the source, indices of its windows
        groups: list[tuple[int, int, list[int]]] = []
        for index, (corpus, layout) in enumerate(sources):
            packed = val_windows(corpus, self.sequencer, layout, self.examples, self.label_ids(corpus))
            lengths, origins = [], []
            for windows in packed:
                lengths.append(max(len(window.ids) for _, window in windows))
                origins.append(corpus.origin(windows[0][0]))
            tokens = self.batch_size * (layout.prefix + self.sequencer.target_capacity(layout))
            origins = np.array(origins)
            for origin in np.unique(origins):
                (of_origin,) = np.nonzero(origins == origin)
                batches_of_origin = full_batches(np.array(lengths)[of_origin], tokens)
                groups += [(index, int(origin), of_origin[group].tolist()) for group in batches_of_origin]
        if limit is not None and len(groups) > limit:
            groups = [groups[i * len(groups) // limit] for i in range(limit)]
        batches: list[Batch] = []
        for index, (corpus, layout) in enumerate(sources):
            layout_groups = [(origin, group) for group_layout, origin, group in groups if group_layout == index]
            selected = {i for _, group in layout_groups for i in group}
            # Pack all windows a second time, so that memory holds the selected ones alone
            numbers = self.label_ids(corpus)
            packed = val_windows(corpus, self.sequencer, layout, self.examples, numbers) if selected else ()
            windows = {i: window for i, window in enumerate(packed) if i in selected}
            batches += [
                gather(index, [windows[i] for i in group], numbers)._replace(origin=origin)
                for origin, group in layout_groups
            ]
        # As many batches on each rank, the last ones without targets: a sharded model needs all ranks in each forward
        while len(batches) % self.trainer.world_size:
            last = batches[-1]
            nothing = {"targets": torch.full_like(last.targets, NO_TARGET)}
            batches.append(last._replace(**nothing, labels=torch.full_like(last.labels, NO_LABEL)))
        return eval_loader(batches, self.trainer, option)


def _accepted(options: Mapping[str, Any]) -> str:
    """Return the names of options in words, for an error message."""
    return f"accepted are {', '.join(f'--data.{name}' for name in options)}" if options else "none of a medium is"
