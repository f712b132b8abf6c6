"""Networks of a codec of one's own: each code sees the pixels of its own square alone, by a small MLP.

helicon train image-codec FOLDER_OF_PICTURES --model.net patches --plugin own_codec_net.py
helicon reconstruct runs/image-codec-1 PICTURE.png --plugin own_codec_net.py
"""

from torch import nn

import helicon


@helicon.register_codec_net("image", "patches")
def patches(config: helicon.ImageCodecConfig, sizes: helicon.NetSizes) -> helicon.Nets:
    """A square of `step` x `step` pixels becomes channels first, and last channels become such a square."""
    inside, pixels = config.width, sizes.step**2
    encoder = nn.Sequential(nn.PixelUnshuffle(sizes.step), *mlp(sizes.channels * pixels, inside, sizes.inputs))
    decoder = nn.Sequential(*mlp(sizes.outputs, inside, sizes.decoder_channels * pixels), nn.PixelShuffle(sizes.step))
    return helicon.Nets(encoder, decoder)


def mlp(inputs: int, width: int, outputs: int) -> list[nn.Module]:
    """Layers for the channels of each place."""
    return [nn.Conv2d(inputs, width, 1), nn.SiLU(), nn.Conv2d(width, outputs, 1)]
