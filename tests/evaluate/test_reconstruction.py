"""The curve of a tokenizer whose errors are known: token k holds column k, missing columns are grey."""

import json
import math
from dataclasses import dataclass, field

import pytest
import torch
from PIL import Image
from torch import Tensor

from openflextok.evaluate.reconstruction import power_lengths, reconstruction_curve
from openflextok.nets.lpips import LPIPS
from openflextok.pixels import center_crop, to_float, to_uint8_tensor
from openflextok.types import Tokens

SIDE = 32


class Shift:
    """A space that is off by 0.2: 20 dB."""

    def encode(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW

    def decode(self, latents_BCHW: Tensor) -> Tensor:
        return torch.where(latents_BCHW > 0, latents_BCHW - 0.2, latents_BCHW + 0.2)


@dataclass
class Columns:
    """A tokenizer with one token a column; notes what decode was asked."""

    num_tokens: int = SIDE
    image_size: tuple[int, int] = (SIDE, SIDE)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    space: Shift = field(default_factory=Shift)
    asked: list = field(default_factory=list)

    def bytes_per_image(self, length: int) -> int:
        return 2 * length

    def encode(self, images: Tensor) -> Tokens:
        values_BND = images.permute(0, 3, 1, 2).flatten(2)
        return Tokens(values_BND, None, torch.ones(values_BND.shape[:2], dtype=torch.bool))

    def decode(self, tokens: Tokens, **options) -> Tensor:
        self.asked.append((tokens.values_BND.shape[1], options))
        batch, kept, _ = tokens.values_BND.shape
        images = torch.zeros(batch, 3, SIDE, SIDE)
        images[..., :kept] = tokens.values_BND.view(batch, kept, 3, SIDE).permute(0, 2, 3, 1)
        return images


def images(batch: int, seed: int = 0) -> Tensor:
    return torch.rand(batch, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_curve_of_known_errors():
    a = torch.full((2, 3, SIDE, SIDE), 0.5)
    curve = reconstruction_curve(Columns(), [a], lengths=(1, 16, 32))
    expected = [10 * math.log10(4 / (0.25 * (SIDE - length) / SIDE)) for length in (1, 16)]
    assert [row.psnr for row in curve.rows] == pytest.approx([*expected, 100.0], abs=1e-4)
    assert [(row.length, row.bytes, row.n, row.lpips) for row in curve.rows] == [
        (1, 2, 2, None),
        (16, 32, 2, None),
        (32, 64, 2, None),
    ]
    assert (curve.space.psnr, curve.space.length, curve.space.n) == (pytest.approx(20, abs=1e-4), None, 2)


def test_batches_do_not_matter_and_every_image_has_its_seed():
    x, one, many = images(5), Columns(), Columns()
    whole = reconstruction_curve(one, [x], lengths=(2, 8), seed=7, steps=3, guidance="cfg:2")
    parts = reconstruction_curve(many, x.split(2), lengths=(2, 8), seed=7, steps=3, guidance="cfg:2")
    assert [row.psnr for row in parts.rows] == pytest.approx([row.psnr for row in whole.rows])
    assert [options["seed"] for kept, options in one.asked if kept == 8] == [[7, 8, 9, 10, 11]]
    assert [options["seed"] for kept, options in many.asked if kept == 8] == [[7, 8], [9, 10], [11]]
    assert all((options["steps"], options["guidance"]) == (3, "cfg:2") for _, options in many.asked)


def test_pictures_are_cropped_to_the_native_size():
    pixels = torch.randint(0, 256, (3, 40, 70, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pictures = [Image.fromarray(picture.numpy()) for picture in pixels]
    tensors = to_float(torch.stack([to_uint8_tensor(center_crop(p, (SIDE, SIDE))) for p in pictures]))
    tokenizer = Columns()
    curve = reconstruction_curve(tokenizer, pictures, lengths=(4,), batch=2)
    assert curve.rows[0].n == 3
    assert curve.rows[0].psnr == pytest.approx(reconstruction_curve(Columns(), [tensors], lengths=(4,)).rows[0].psnr)
    assert [len(options["seed"]) for _, options in tokenizer.asked] == [2, 1]


def test_the_perceptual_mean():
    torch.manual_seed(0)
    network = LPIPS("alex")
    for head in network.heads:
        head.fill_(1.0)
    x = images(3)
    curve = reconstruction_curve(Columns(), x.split(2), lengths=(8, 32), perceptual=network)
    rebuilt = torch.where(torch.arange(SIDE) < 8, x, torch.zeros(()))
    assert curve.rows[0].lpips == pytest.approx(network(x, rebuilt).mean().item(), rel=1e-4)
    assert curve.rows[1].lpips == 0
    assert "LPIPS (alex)" in curve.markdown()


def test_markdown_and_json():
    curve = reconstruction_curve(Columns(), [torch.full((1, 3, SIDE, SIDE), 0.5)], lengths=(16,))
    assert curve.markdown() == (
        "| tokens | bytes | PSNR (dB) | LPIPS |\n"
        "| ---: | ---: | ---: | ---: |\n"
        "| 16 | 32 | 15.05 |  |\n"
        "| space |  | 20.00 |  |\n"
    ).replace("15.05", f"{10 * math.log10(4 / 0.125):.2f}")
    data = json.loads(curve.json())
    assert (data["rows"][0]["length"], data["steps"], data["guidance"]) == (16, 25, "None")


def test_default_lengths():
    assert power_lengths(1) == (1,)
    assert power_lengths(64) == (1, 2, 4, 8, 16, 32, 64)
    assert power_lengths(100) == (1, 2, 4, 8, 16, 32, 64, 100)
    assert [row.length for row in reconstruction_curve(Columns(), [images(1)]).rows] == [1, 2, 4, 8, 16, 32]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 33\].*1 <= length <= 32"):
        reconstruction_curve(Columns(), [images(1)], lengths=(0, 4, 33))
    with pytest.raises(ValueError, match="no images"):
        reconstruction_curve(Columns(), [])
