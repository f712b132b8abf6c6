"""What Lightning drives: modules and their batches, optimizers, shards, callbacks."""
