"""Evaluation: losses, controllability of music, reconstructions by codecs, labels of files, features of layers.

In come a `Bundle` (or an n-gram or codec) and files; out come frozen results that save themselves as JSON or media, and
that commands print. Nothing here trains. Open `measure.py` first (`helicon eval`), then `losses.py`; the rest are one
file a measurement.

A column that `helicon eval` prints is in `table` of `commands/evaluate.py`, its figure in `losses.LayoutLoss.as_json`.
"""
