"""Bundles: a model on disk with everything that turns its tokens into media, and conversion from and to other formats.

A bundle is a folder of safetensors weights and one JSON of layouts, vocabulary and tokenizers; no code or pickle in it
is run. In come a folder or a trained GPT with its sequencer; out come a `Bundle`, which generates and is fine-tuned, or
the files of a folder. Open `bundle.py` first, then `storage.py` (load and save); `importing/` reads GPT-2, nanoGPT and
ImageGPT, `exporting/` writes for transformers and llama.cpp, `upsamplers.py` attaches the models of finer levels.
"""
