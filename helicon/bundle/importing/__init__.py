"""Import of foreign models: folders in Hugging Face's layout, and checkpoints of nanoGPT, to bundles. No code is run.

In comes a folder that `save_pretrained` wrote, out comes a `Bundle` with the same logits. Open `folder.py` first, then
`gpt2.py`; `layers.py` has what GPT-2 and ImageGPT share.
"""
