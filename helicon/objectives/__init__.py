"""Objectives: losses and metrics, each with the modules that it needs beside the GPT; no Lightning.

In come batches of packed sequences (`Batch`), labels, pairs or rollouts; out come a loss with gradients, figures to
log, and reports for `helicon eval`. Open `base.py` first (`Objective`, the base class), then `next_token.py`. The names
in `registry.OBJECTIVES` are those of `task:` in a preset; `guarded.py` checks what plugins return.
"""
