"""Training of codecs: Lightning modules, their data modules, and the losses of sound.

In: a folder of pictures or sounds, which is read once into a cache, and configs from `training.settings`. Out: a codec
of `vqvae`, stored by `vqvae.storage`, and the validation figures of its run. Open `codec_base.py` first, which has what
both media share; then `codec.py` with `codec_data.py` (pictures), or `audio_codec.py` with `audio_data.py` and
`audio_losses.py` (sound).
"""
