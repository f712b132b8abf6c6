"""Streaming: tar shards that do not fit on the disk are tokenised ahead of the training, and removed after it.

In: a folder of shards. Out: tokenizers and a validation part from the first shards, and endless batches of all of them.
"""
