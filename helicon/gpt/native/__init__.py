"""A decoding step in C for CPUs, compiled once a machine where there is a compiler; tested against GPT.step.

Its results do not depend on the number of threads, nor on what else is in the batch.
"""
