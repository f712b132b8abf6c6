"""Native decode step: one token per row through all layers and the output matrix, in C, on a CPU.

In: a GPT and its KV cache, whose memory the C code reads and writes where PyTorch keeps it. Out: logits. `step.c` is
compiled once per machine; without a compiler, `EagerStep` of `gpt/stepping.py` is used instead. Results are tested
against `GPT.step`, and depend neither on the number of threads nor on other rows of the batch. Start with `step.py`,
the Python side, then `step.c`; `build.py` compiles and `thread_tuner.py` chooses the number of threads.
"""
