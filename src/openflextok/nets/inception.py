"""InceptionV3 as it is used for FID: 2048 features of an image, frozen.

    8-bit levels (B,3,H,W) -> 299 x 299 as TensorFlow 1 resized -> (x - 128) / 128 -> stem, 11 mixed blocks -> mean -> (B,2048)

The layers follow C. Szegedy et al., arXiv 1512.00567, with the weights of TensorFlow's `inception-2015-12-05`, whose
average pools leave the border out and whose last block takes a maximum. Batch norms are folded into the convolutions.
`openflextok.convert.inception.load_inception` fills it.

Shapes: B batch, C channels, H height, W width, D features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

FEATURES, SIDE = 2048, 299


@dataclass(frozen=True)
class Conv:
    """A convolution with a bias, then a ReLU."""

    outputs: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padded: bool = True


@dataclass(frozen=True)
class Pool:
    """3 x 3: "average" and "max" keep the size, "halve" takes the maximum at stride 2."""

    kind: str


@dataclass(frozen=True)
class Fork:
    """Convolutions of the same input, side by side."""

    convs: tuple[Conv, ...]


Branch = tuple[Conv | Pool | Fork, ...]
ROW, COLUMN, SQUARE = (1, 7), (7, 1), (3, 3)
THIN = Fork((Conv(384, (1, 3)), Conv(384, (3, 1))))

STEM: Branch = (
    Conv(32, SQUARE, 2, False), Conv(32, SQUARE, 1, False), Conv(64, SQUARE), Pool("halve"),
    Conv(80), Conv(192, SQUARE, 1, False), Pool("halve"),
)  # fmt: skip


def _fine(pooled: int) -> tuple[Branch, ...]:
    wide: Branch = (Conv(64), Conv(96, SQUARE), Conv(96, SQUARE))
    return (Conv(64),), (Conv(48), Conv(64, (5, 5))), wide, (Pool("average"), Conv(pooled))


def _middle(width: int) -> tuple[Branch, ...]:
    once: Branch = (Conv(width), Conv(width, ROW), Conv(192, COLUMN))
    twice: Branch = (Conv(width), Conv(width, COLUMN), Conv(width, ROW), Conv(width, COLUMN), Conv(192, ROW))
    return (Conv(192),), once, twice, (Pool("average"), Conv(192))


def _coarse(pool: str) -> tuple[Branch, ...]:
    return (Conv(320),), (Conv(384), THIN), (Conv(448), Conv(384, SQUARE), THIN), (Pool(pool), Conv(192))


MIXED: tuple[tuple[Branch, ...], ...] = (
    _fine(32),
    _fine(64),
    _fine(64),
    ((Conv(384, SQUARE, 2, False),), (Conv(64), Conv(96, SQUARE), Conv(96, SQUARE, 2, False)), (Pool("halve"),)),
    _middle(128),
    _middle(160),
    _middle(160),
    _middle(192),
    (
        (Conv(192), Conv(320, SQUARE, 2, False)),
        (Conv(192), Conv(192, ROW), Conv(192, COLUMN), Conv(192, SQUARE, 2, False)),
        (Pool("halve"),),
    ),
    _coarse("average"),
    _coarse("max"),
)


class Side(nn.Module):
    """Modules of the same input, their channels put together: (B,C,H,W) -> (B,sum of channels,h,w)."""

    def __init__(self, paths: list[nn.Module]) -> None:
        super().__init__()
        self.paths = nn.ModuleList(paths)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return torch.cat([path(x_BCHW) for path in self.paths], dim=1)


def _conv(conv: Conv, inputs: int) -> nn.Sequential:
    padding = (conv.kernel[0] // 2, conv.kernel[1] // 2) if conv.padded else 0
    return nn.Sequential(nn.Conv2d(inputs, conv.outputs, conv.kernel, conv.stride, padding), nn.ReLU())


POOLS = {
    "average": lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    "max": lambda: nn.MaxPool2d(3, 1, 1),
    "halve": lambda: nn.MaxPool2d(3, 2),
}


def _branch(branch: Branch, inputs: int) -> tuple[nn.Sequential, int]:
    """The module of a branch, and its channels."""
    layers: list[nn.Module] = []
    for layer in branch:
        if isinstance(layer, Pool):
            layers.append(POOLS[layer.kind]())
        elif isinstance(layer, Fork):
            layers.append(Side([_conv(conv, inputs) for conv in layer.convs]))
            inputs = sum(conv.outputs for conv in layer.convs)
        else:
            layers.append(_conv(layer, inputs))
            inputs = layer.outputs
    return nn.Sequential(*layers), inputs


class InceptionV3(nn.Module):
    """FID features: (B,3,H,W) in [-1,1], multiples of 8-bit steps or not -> (B,2048) >= 0; frozen."""

    def __init__(self) -> None:
        super().__init__()
        stem, width = _branch(STEM, 3)
        blocks: list[nn.Module] = [stem]
        for mixed in MIXED:
            made = [_branch(branch, width) for branch in mixed]
            blocks.append(Side([module for module, _ in made]))
            width = sum(channels for _, channels in made)
        self.blocks = nn.Sequential(*blocks)
        self.requires_grad_(False)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        levels_BCHW = resize_like_tensorflow(images_BCHW.float().add(1).mul(127.5), SIDE)
        return self.blocks((levels_BCHW - 128) / 128).mean((2, 3))


def resize_like_tensorflow(images_BCHW: Tensor, side: int) -> Tensor:
    """Bilinear to (B,C,side,side) as TensorFlow 1 did: pixel i of the result lies at i * H / side, nothing is smoothed."""
    rows, columns = (_interpolation(size, side).to(images_BCHW) for size in images_BCHW.shape[2:])
    return rows @ images_BCHW @ columns.T


def _interpolation(size: int, side: int) -> Tensor:
    """(side, size): the weights of old pixels in each new one."""
    place = torch.arange(side, dtype=torch.float64) * size / side
    low = place.floor().long().clamp(max=size - 1)
    share = place - low
    weights = torch.zeros(side, size, dtype=torch.float64)
    row = torch.arange(side)
    weights[row, low] += 1 - share
    weights[row, (low + 1).clamp(max=size - 1)] += share
    return weights
