"""3x3 convolutions with a quarter of the products: Winograd's minimal filtering F(4x4, 3x3) (arXiv 1509.09308).

Shape suffixes: B batch, H x W pixels, C inputs, O outputs, T tiles of 4x4 outputs, 36 = 6x6 and 16 = 4x4 of one tile.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST_CHANNELS, LEAST_PIXELS = 128, 1024  # below, the direct form is as fast (docs/log.md)
TILES_AT_ONCE = 128  # few enough for what is computed from them to stay in the cache

INPUT_66 = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
FILTER_63 = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
OUTPUT_46 = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


def both_axes(matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """A transform of columns -> the one of whole tiles, flattened."""
    one = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one, one).float()


class Conv3x3(nn.Conv2d):
    """A convolution with stride 1 and padding 1. On a CPU, in float32, without gradients: Winograd's form.

    Both forms are float32 arithmetic, in another order: Winograd's rounds three times as much, to about 2e-6 of the
    outputs' size (docs/log.md). Which one runs depends on the shapes of one image alone, never on the batch.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        if not self.gains(input):
            return super().forward(input)
        assert self.bias is not None
        return winograd(input, self.weight, self.bias)

    def gains(self, x_BCHW: Tensor) -> bool:
        """Whether Winograd's form can run, and is faster."""
        H, W = x_BCHW.shape[2:]
        return (
            x_BCHW.device.type == "cpu"
            and x_BCHW.dtype == self.weight.dtype == torch.float32
            and not torch.is_grad_enabled()
            and not torch.is_autocast_enabled("cpu")
            and min(self.in_channels, self.out_channels) >= LEAST_CHANNELS
            and H * W >= LEAST_PIXELS
            and H % 4 == W % 4 == 0
        )


def winograd(x_BCHW: Tensor, weight_OC33: Tensor, bias_O: Tensor) -> Tensor:
    """The convolution with padding 1; H and W multiples of 4. Returns channels last."""
    (B, C, H, W), O = x_BCHW.shape, len(weight_OC33)  # noqa: E741
    filter_36CO = (both_axes(FILTER_63) @ weight_OC33.permute(2, 3, 1, 0).reshape(9, C * O)).view(36, C, O)
    to_input, to_output = both_axes(INPUT_66), both_axes(OUTPUT_46)
    result_BHWO, padded = x_BCHW.new_empty(B, H, W, O), x_BCHW.new_empty(H + 2, W + 2, C)
    for border in (padded[0], padded[-1], padded[:, 0], padded[:, -1]):
        border.zero_()
    rows, tiles = max(1, TILES_AT_ONCE * 4 // W), W // 4  # at once; in a row
    windows = padded.as_strided((6, 6, H // 4, tiles, C), (padded.stride(0), C, 4 * padded.stride(0), 4 * C, 1))
    for x_CHW, result_HWO in zip(x_BCHW, result_BHWO, strict=True):
        padded[1:-1, 1:-1] = x_CHW.permute(1, 2, 0)
        places = result_HWO.view(H // 4, 4, tiles, 4, O)
        for row in range(0, H // 4, rows):
            window_36x = windows[:, :, row : row + rows].reshape(36, -1)
            products_36TO = torch.bmm((to_input @ window_36x).view(36, -1, C), filter_36CO)
            outputs = (to_output @ products_36TO.view(36, -1)).view(4, 4, -1, tiles, O)
            torch.add(outputs.permute(2, 0, 3, 1, 4), bias_O, out=places[row : row + rows])
    return result_BHWO.permute(0, 3, 1, 2)
