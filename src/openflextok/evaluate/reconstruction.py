"""The curve of a tokenizer: how good images are after 1, 2, 4, ... N tokens.

    images -> encode -> tokens -> truncate(length) -> decode -> PSNR, LPIPS    (a row per length)
    images -> space.encode -> space.decode -> PSNR, LPIPS                      (the row "space": the ceiling)

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from openflextok.evaluate.metrics import psnr
from openflextok.lengths import power_lengths
from openflextok.nets.lpips import LPIPS
from openflextok.pixels import center_crop, read_image, to_float, to_uint8_tensor
from openflextok.tokenizer import Tokenizer


@dataclass(frozen=True)
class Row:
    """Means over `n` images: PSNR in dB of each image, LPIPS (None: not measured); length and bytes None: the space."""

    length: int | None
    bytes: int | None
    psnr: float
    lpips: float | None
    n: int


@dataclass(frozen=True)
class Curve:
    """The ceiling of the space and a row per length, with the settings of the decoder and the LPIPS network."""

    space: Row
    rows: tuple[Row, ...]
    steps: int
    guidance: str
    seed: int
    perceptual: str | None

    def markdown(self) -> str:
        """A table with one line per length and the space last."""
        lpips = f"LPIPS ({self.perceptual})" if self.perceptual else "LPIPS"
        lines = [f"| tokens | bytes | PSNR (dB) | {lpips} |", "| ---: | ---: | ---: | ---: |"]
        for row in (*self.rows, self.space):
            length = "space" if row.length is None else str(row.length)
            size = "" if row.bytes is None else str(row.bytes)
            distance = "" if row.lpips is None else f"{row.lpips:.3f}"
            lines.append(f"| {length} | {size} | {row.psnr:.2f} | {distance} |")
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """All of it as JSON, for results files."""
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"


def float_batches(images: Iterable[Image.Image | Tensor], size: tuple[int, int], batch: int) -> Iterator[Tensor]:
    """Float batches (B,3,H,W) in [-1,1]: tensors pass as they are, pictures are cropped to `size` (height, width)."""
    group: list[Tensor] = []
    for image in images:
        if isinstance(image, Tensor):
            yield image
            continue
        group.append(to_uint8_tensor(center_crop(read_image(image), size)))
        if len(group) == batch:
            yield to_float(torch.stack(group))
            group = []
    if group:
        yield to_float(torch.stack(group))


class _Sums:
    """Sums of PSNR and LPIPS over images."""

    def __init__(self, perceptual: LPIPS | None) -> None:
        self.perceptual, self.psnr, self.lpips, self.n = perceptual, 0.0, 0.0, 0

    def add(self, images_BCHW: Tensor, rebuilt_BCHW: Tensor) -> None:
        rebuilt_BCHW = rebuilt_BCHW.to(images_BCHW).clamp(-1, 1)
        # 100 dB stands for equal images, as an infinite value would swallow the mean
        self.psnr += float(psnr(images_BCHW, rebuilt_BCHW).clamp(max=100.0).double().sum())
        self.n += len(images_BCHW)
        if self.perceptual is not None:
            self.lpips += float(self.perceptual(images_BCHW, rebuilt_BCHW).double().sum())

    def row(self, length: int | None, size: int | None) -> Row:
        return Row(length, size, self.psnr / self.n, self.lpips / self.n if self.perceptual else None, self.n)


@torch.no_grad()
def reconstruction_curve(
    tokenizer: Tokenizer,
    images: Iterable[Image.Image | Tensor],
    lengths: Sequence[int] | None = None,
    *,
    steps: int = 25,
    guidance: Any = None,
    seed: int = 0,
    perceptual: LPIPS | None = None,
    batch: int = 8,
) -> Curve:
    """Encode each image once, decode it at each length, and take the means.

    images: PIL pictures (cropped to the native size, `batch` at a time) or float tensors (B,3,H,W) in [-1,1].
    lengths: 1 <= length <= tokenizer.num_tokens; none means 1, 2, 4, ... and the full length.
    seed: image i (counted from 0) is decoded with seed + i, so the batches do not matter.
    perceptual: a network on the tokenizer's device; none leaves LPIPS out.
    Raises ValueError for lengths out of range or no images.
    """
    wanted = power_lengths(tokenizer.num_tokens) if lengths is None else tuple(lengths)
    bad = [length for length in wanted if not 1 <= length <= tokenizer.num_tokens]
    if bad or not wanted:
        allowed = f"1 <= length <= {tokenizer.num_tokens}"
        raise ValueError(f"cannot measure at lengths {bad or wanted}: this tokenizer allows {allowed}")
    ceiling, sums = _Sums(perceptual), {length: _Sums(perceptual) for length in wanted}
    for images_BCHW in float_batches(images, tokenizer.image_size, batch):
        images_BCHW = images_BCHW.to(tokenizer.device, torch.float32)
        seeds = [seed + ceiling.n + place for place in range(len(images_BCHW))]
        ceiling.add(images_BCHW, tokenizer.space.decode(tokenizer.space.encode(images_BCHW)))
        tokens = tokenizer.encode(images_BCHW)
        options = {"seed": seeds, "image_size": tuple(images_BCHW.shape[2:]), "steps": steps, "guidance": guidance}
        for length, each in sums.items():
            each.add(images_BCHW, tokenizer.decode(tokens.truncate(length), **options))
    if ceiling.n == 0:
        raise ValueError("cannot measure a curve on no images: give at least one")
    rows = tuple(each.row(length, tokenizer.bytes_per_image(length)) for length, each in sums.items())
    return Curve(ceiling.row(None, None), rows, steps, str(guidance), seed, perceptual.net if perceptual else None)
