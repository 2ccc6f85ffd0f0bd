"""MobileNet features of decoded images, kept on disk: decoding is what takes the time.

Shapes: B images, N tokens, D features.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import openflextok as oft
from openflextok.convert.mobilenet import load_mobilenet
from openflextok.data.sources import open_source
from openflextok.files import atomic_file
from openflextok.pixels import center_crop, to_float, to_uint8_tensor
from openflextok.tokenizer import weights_digest

CHUNK, BATCH = 256, 32


class DecodedFeatures:
    """Token ids -> images (bf16 autocast, noise by the image's seed) -> features; a file per 256 images."""

    def __init__(self, tokenizer: oft.Tokenizer, folder: Path, steps: str | int = "fast") -> None:
        self.tokenizer, self.folder, self.steps = tokenizer, folder, steps
        self.network = load_mobilenet()
        self.digest = weights_digest(tokenizer)
        self.made, self.seconds = 0, 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def decoded(self, ids_BN: Tensor, length: int, seeds: list[int]) -> Tensor:
        """Features (B, D) of images decoded from the first `length` tokens."""
        ids_BN = ids_BN[:, :length]
        places = range(0, len(ids_BN), CHUNK)
        return torch.cat([self._chunk(ids_BN[i : i + CHUNK], seeds[i : i + CHUNK]) for i in places])

    def _chunk(self, ids_BN: Tensor, seeds: list[int]) -> Tensor:
        key = hashlib.sha256(f"{self.digest} {self.steps} bf16 {ids_BN.shape} {seeds}".encode())
        key.update(ids_BN.contiguous().numpy().tobytes())
        file = self.folder / f"{key.hexdigest()[:32]}.safetensors"
        if not file.is_file():
            start, parts = time.perf_counter(), []
            for i in range(0, len(ids_BN), BATCH):
                with torch.autocast("cpu", torch.bfloat16):
                    images = self.tokenizer.decode(ids_BN[i : i + BATCH], steps=self.steps, seed=seeds[i : i + BATCH])
                parts.append(self.images(images))
            with atomic_file(file) as part:
                save_file({"features": torch.cat(parts)}, part)
            self.made, self.seconds = self.made + len(ids_BN), self.seconds + time.perf_counter() - start
        return load_file(file)["features"]

    def images(self, images_BCHW: Tensor) -> Tensor:
        """Features (B, D) of images in [-1, 1]."""
        with torch.inference_mode():
            return torch.cat([self.network(part) for part in images_BCHW.float().split(BATCH)])


def crops(spec: str, size: tuple[int, int]) -> tuple[Tensor, list[str | None], list[str | None]]:
    """Centre crops (B, 3, H, W) in [-1, 1], labels and captions of a source."""
    examples = [source.read(i) for source in [open_source(spec)] for i in range(len(source))]
    images = to_float(torch.stack([to_uint8_tensor(center_crop(e.image, size)) for e in examples]))
    return images, [e.label for e in examples], [e.caption for e in examples]
