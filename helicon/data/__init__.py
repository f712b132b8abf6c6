"""From a folder of files to batches: scan, tokenise into memory-mapped shards, cut windows, pack batches.

In come a folder (or a manifest, or tar shards), layouts, and the tokenizers of their slots; out come a `Corpus` of
token ids for each layout, fitted tokenizers, and an endless stream of `Batch`es. Batch t is a function of
(data, seed, t) alone, whatever the number of workers or processes, so that a run can be resumed at any step. Nothing
here knows a network. Open `prepare.py` first (folder to corpus, by `build.py` or from `cache.py`), then `batches.py`
(corpus to batches). `files.py` scans a folder, groups files of one stem (caption and picture) and
splits them into training and validation; `entries.py` makes an entry of each group. `pairs.py`: preference pairs.
"""
