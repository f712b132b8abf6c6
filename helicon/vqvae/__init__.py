"""Networks of learned tokenizers (VQ-VAE, dVAE, FSQ): media tensors to codes of a grid, and back.

In come pictures [B, 3, H, W] or sounds [B, C, S] in [-1, 1]; out come int64 codes [B, h, w] or [B, T], and from
codes the media again. A codec is an encoder, a quantizer and a decoder, of Helicon or of plugins, and is stored in one
folder. Nothing here knows a tokenizer or a GPT: `tokenizers.codes` and `tokenizers.sound_codes` wrap a codec, and
`training` trains one. Open `codec.py` first, then `quantizers.py`; `audio_codec.py` adds levels and sounds of any
length.
"""
