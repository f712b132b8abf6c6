"""The sampling loop: prefill, then one token a step, a new window when the context is full; ids in, ids out.

`decode` draws; `run.py` keeps what the model is to be fed, which is what it was fed in training.
"""

from helicon.decoding.loop import OnStep, decode
from helicon.decoding.prompts import Prompt, Sampling

__all__ = ["OnStep", "Prompt", "Sampling", "decode"]
