"""A model on disk, whole: what a run leaves, what generates and is fine-tuned, and models that others have trained.

A bundle is safetensors weights and one JSON of layouts, vocabulary and tokenizers; no code or pickle in it is run.
"""
