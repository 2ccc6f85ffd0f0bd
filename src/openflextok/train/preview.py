"""Pictures of progress: originals and what is rebuilt from their prefixes.

Shape suffixes: B batch, C channels, H x W pixels.
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from openflextok.data.sources import ImageSource
from openflextok.evaluate.pictures import picture_grid
from openflextok.lengths import power_lengths
from openflextok.pixels import ImageError, center_crop, to_float, to_pil, to_uint8_tensor
from openflextok.tokenizer import Tokenizer


def first_images(source: ImageSource, count: int, size: tuple[int, int]) -> Tensor:
    """The first readable images of a source, centre-cropped: (B, 3, H, W) in [-1, 1]."""
    pictures: list[Tensor] = []
    for index in range(len(source)):
        try:
            pictures.append(to_uint8_tensor(center_crop(source.read(index).image, size)))
        except ImageError:
            continue
        if len(pictures) == count:
            break
    if not pictures:
        raise ImageError("no image of the source can be read: run `openflextok data check` on it")
    return to_float(torch.stack(pictures))


@torch.inference_mode()
def prefix_grid(tokenizer: Tokenizer, images_BCHW: Tensor) -> Image.Image:
    """Original, latent space alone, then each prefix length, as a draft."""
    tokenizer.eval()
    tokens = tokenizer.encode(images_BCHW)
    ceiling_BCHW = tokenizer.space.decode(tokenizer.space.encode(images_BCHW)).float().clamp(-1, 1)
    columns = [("original", to_pil(images_BCHW)), ("space", to_pil(ceiling_BCHW))]
    for length in power_lengths(tokenizer.num_tokens):
        images = tokenizer.decode(tokens.truncate(length), **tokenizer.decoder.draft)
        columns.append((f"{length} tokens", to_pil(images)))
    return picture_grid(columns)
