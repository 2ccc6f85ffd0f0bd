"""MobileNetV2, a frozen image network small enough for tests, Frechet distances and alignment teachers.

    images (B,3,H,W) -> 18 blocks -> maps at stride 8, 16, 32 -> mean over pixels -> (B,1280)

The layer table follows torchvision (BSD-3-Clause) and M. Sandler et al., arXiv 1801.04381. Batch norms are folded
into the convolutions, so there is no training mode. `openflextok.convert.mobilenet.load_mobilenet` fills it.

Shapes: B batch, C channels, H height, W width, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# (expansion, width, repeats, stride of the first) of the inverted residual stages
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
FEATURES = 1280
WIDTHS = {8: 32, 16: 96, 32: FEATURES}  # stride of a map in pixels -> its channels
BLOCKS_TO = {8: 7, 16: 14, 32: 19}  # stride -> how many blocks lead to the last map of that stride


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)


class InvertedResidual(nn.Module):
    """Widen, convolve by channel, narrow, add the input where it fits: (B,C,H,W) -> (B,outputs,H/stride,W/stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        widen = [_conv(inputs, hidden, 1), nn.ReLU6()] if expansion > 1 else []
        self.layers = nn.Sequential(
            *widen, _conv(hidden, hidden, 3, stride, groups=hidden), nn.ReLU6(), _conv(hidden, outputs, 1)
        )
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.layers(x_BCHW)
        return x_BCHW + y_BCHW if self.adds_input else y_BCHW


class MobileNetV2(nn.Module):
    """ImageNet features: (B,3,H,W) in [-1,1] -> (B,1280) >= 0; frozen, gradients reach the images; H and W >= 32."""

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [nn.Sequential(_conv(3, 32, 3, stride=2), nn.ReLU6())]
        width = 32
        for expansion, outputs, repeats, first_stride in STAGES:
            for repeat in range(repeats):
                blocks.append(InvertedResidual(width, outputs, first_stride if repeat == 0 else 1, expansion))
                width = outputs
        blocks.append(nn.Sequential(_conv(width, FEATURES, 1), nn.ReLU6()))
        self.blocks = nn.ModuleList(blocks)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def spatial(self, images_BCHW: Tensor, stride: int = 16) -> Tensor:
        """The last map of a stride (8, 16, 32): (B,3,H,W) in [-1,1] -> (B,D,H/stride,W/stride), D = WIDTHS[stride]."""
        if stride not in BLOCKS_TO:
            raise ValueError(f"no map at stride {stride}: choose one of {sorted(BLOCKS_TO)}")
        if images_BCHW.ndim != 4 or images_BCHW.shape[1] != 3 or min(images_BCHW.shape[2:]) < 32:
            raise ValueError(f"cannot read images of shape {tuple(images_BCHW.shape)}: need (B,3,H,W), H and W >= 32")
        x_BCHW = ((images_BCHW + 1) / 2 - self.get_buffer("mean")) / self.get_buffer("std")
        for block in self.blocks[: BLOCKS_TO[stride]]:
            x_BCHW = block(x_BCHW)
        return x_BCHW

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.spatial(images_BCHW, stride=32).mean((2, 3))
