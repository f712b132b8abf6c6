"""Export for other programs: a bundle whose GPT is also a GPT-2 or a Llama, as a transformers folder or a GGUF file.

In comes a `Bundle`, out come files with the same logits; a model that such a program cannot compute is refused before
anything is written. Open `export.py` first, then `plain.py` (our weights without vocabulary and layouts) and
`families.py` (their names).
"""
