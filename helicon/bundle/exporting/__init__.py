"""Models for other programs: a bundle whose GPT is also a GPT-2 or a Llama, as a folder of transformers or a GGUF file.

What is written computes the same logits; a model that such a program cannot compute is refused before a file is there.
"""
