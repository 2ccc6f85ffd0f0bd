"""LPIPS v0.1, the learned perceptual distance, as a small frozen network.

    a, b (B,3,H,W) -> scale -> 5 stages of convolutions -> unit vectors -> (a - b)^2 -> heads -> mean -> sum (B,)

The layer tables follow torchvision's AlexNet and VGG16 (BSD-3-Clause); the distance and its heads follow
R. Zhang et al., arXiv 1801.03924 (BSD-2-Clause). `openflextok.convert.lpips.load_lpips` fills in the weights.

Shapes: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Conv:
    """One convolution with a bias, followed by a ReLU."""

    inputs: int
    outputs: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1


@dataclass(frozen=True)
class Stage:
    """An optional max pooling (kernel, stride), then convolutions; the last activation is a feature of LPIPS."""

    convs: tuple[Conv, ...]
    pool: tuple[int, int] | None = None


@dataclass(frozen=True)
class Backbone:
    """The stages of a network and the smallest image side that passes through all of them, in pixels."""

    stages: tuple[Stage, ...]
    smallest_side: int


BACKBONES: dict[str, Backbone] = {
    "alex": Backbone(
        stages=(
            Stage((Conv(3, 64, kernel=11, stride=4, padding=2),)),
            Stage((Conv(64, 192, kernel=5, padding=2),), pool=(3, 2)),
            Stage((Conv(192, 384),), pool=(3, 2)),
            Stage((Conv(384, 256),)),
            Stage((Conv(256, 256),)),
        ),
        smallest_side=31,
    ),
    "vgg": Backbone(
        stages=(
            Stage((Conv(3, 64), Conv(64, 64))),
            Stage((Conv(64, 128), Conv(128, 128)), pool=(2, 2)),
            Stage((Conv(128, 256), Conv(256, 256), Conv(256, 256)), pool=(2, 2)),
            Stage((Conv(256, 512), Conv(512, 512), Conv(512, 512)), pool=(2, 2)),
            Stage((Conv(512, 512), Conv(512, 512), Conv(512, 512)), pool=(2, 2)),
        ),
        smallest_side=16,
    ),
}


def _stage(stage: Stage) -> nn.Sequential:
    layers: list[nn.Module] = [nn.MaxPool2d(*stage.pool)] if stage.pool else []
    for conv in stage.convs:
        layers += [nn.Conv2d(conv.inputs, conv.outputs, conv.kernel, conv.stride, conv.padding), nn.ReLU()]
    return nn.Sequential(*layers)


class LPIPS(nn.Module):
    """Perceptual distance of two image batches: (B,3,H,W) in [-1,1], twice -> (B,) >= 0, 0 for equal images.

    The parameters are frozen, gradients reach the images; `net` is a key of `BACKBONES` ("alex" is the usual
    measure, "vgg" the usual loss). Raises ValueError for an unknown net, unequal shapes, or images too small.
    """

    def __init__(self, net: str = "alex") -> None:
        super().__init__()
        if net not in BACKBONES:
            raise ValueError(f"no LPIPS network {net!r}: choose one of {sorted(BACKBONES)}")
        self.net, self.backbone = net, BACKBONES[net]
        self.stages = nn.ModuleList([_stage(stage) for stage in self.backbone.stages])
        widths = [stage.convs[-1].outputs for stage in self.backbone.stages]
        self.heads = nn.ParameterList([torch.zeros(1, width, 1, 1) for width in widths])
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def features(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        """The activations after each of the five stages: (B,3,H,W) in [-1,1] -> five (B,C,h,w), each >= 0."""
        shape, side = tuple(images_BCHW.shape), self.backbone.smallest_side
        if len(shape) != 4 or shape[1] != 3 or min(shape[2:]) < side:
            raise ValueError(f"cannot compare images of shape {shape}: need (B,3,H,W), H and W >= {side}")
        x_BCHW = (images_BCHW - self.get_buffer("shift")) / self.get_buffer("scale")
        features = []
        for stage in self.stages:
            x_BCHW = stage(x_BCHW)
            features.append(x_BCHW)
        return tuple(features)

    def forward(self, a_BCHW: Tensor, b_BCHW: Tensor) -> Tensor:
        if a_BCHW.shape != b_BCHW.shape:
            raise ValueError(f"cannot compare shapes {tuple(a_BCHW.shape)} and {tuple(b_BCHW.shape)}: make them equal")
        distance_B = a_BCHW.new_zeros(a_BCHW.shape[0], dtype=torch.float32)
        for fa_BCHW, fb_BCHW, head in zip(self.features(a_BCHW), self.features(b_BCHW), self.heads, strict=True):
            ua_BCHW, ub_BCHW = (F.normalize(f.float(), dim=1, eps=1e-10) for f in (fa_BCHW, fb_BCHW))
            distance_B = distance_B + ((ua_BCHW - ub_BCHW).square() * head.float()).sum(1).mean((1, 2))
        return distance_B
