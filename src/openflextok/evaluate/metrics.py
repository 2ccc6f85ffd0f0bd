"""How far images are from images, and how well a codebook is used.

Shapes: B batch, C channels, H height, W width, N tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

PEAK = 2.0  # images lie in [-1, 1]
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_C1, SSIM_C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2


def check_pair(a_BCHW: Tensor, b_BCHW: Tensor) -> None:
    """Raise ValueError unless both are (B,C,H,W) of one shape."""
    if a_BCHW.ndim != 4 or a_BCHW.shape != b_BCHW.shape:
        raise ValueError(f"cannot compare {tuple(a_BCHW.shape)} with {tuple(b_BCHW.shape)}: need two equal (B,C,H,W)")


def psnr(a_BCHW: Tensor, b_BCHW: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of images in [-1,1]: (B,C,H,W), twice -> (B,) in dB, infinite for equal images."""
    check_pair(a_BCHW, b_BCHW)
    error_B = (a_BCHW.double() - b_BCHW.double()).square().mean((1, 2, 3))
    return (10 * torch.log10(PEAK**2 / error_B)).float()


def ssim(a_BCHW: Tensor, b_BCHW: Tensor) -> Tensor:
    """Structural similarity of images in [-1,1]: (B,C,H,W), twice -> (B,) <= 1; H and W >= 11.

    Gaussian window of 11 pixels, sigma 1.5, whole windows only (Z. Wang et al., 2004), mean over channels; of levels that
    begin at black, as its luminance asks. torchmetrics also counts windows over mirrored borders: its figures for small images differ.
    """
    check_pair(a_BCHW, b_BCHW)
    batch, _, height, width = a_BCHW.shape
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(f"cannot compare images of {height} x {width}: SSIM needs {SSIM_WINDOW} pixels a side or more")
    offsets = torch.arange(SSIM_WINDOW, device=a_BCHW.device) - SSIM_WINDOW // 2
    taps = torch.softmax(-(offsets.double() ** 2) / (2 * SSIM_SIGMA**2), dim=0)

    def blur(x_BCHW: Tensor) -> Tensor:
        x_BCHW = x_BCHW.reshape(-1, 1, *x_BCHW.shape[2:])
        return F.conv2d(F.conv2d(x_BCHW, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))

    a, b = a_BCHW.double() + 1, b_BCHW.double() + 1
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a**2 + mean_b**2 + SSIM_C1)
    structure = (2 * cov + SSIM_C2) / (var_a + var_b + SSIM_C2)
    return (luminance * structure).reshape(batch, -1).mean(1).float()


@dataclass(frozen=True)
class CodeUsage:
    """How a codebook is used: `share` of its codes that occur, in (0,1]; `perplexity` in codes, 1 to codebook size."""

    share: float
    perplexity: float


def code_usage(ids: Tensor, codebook_size: int) -> CodeUsage:
    """Usage of a codebook by ids of any shape (int64); ValueError for no ids, or outside 0 <= id < codebook_size.

    Both figures are bounded by the number of ids given: say that number beside them.
    """
    flat = ids.reshape(-1)
    if flat.numel() == 0:
        raise ValueError("cannot measure code usage of no ids: give at least one")
    low, high = int(flat.min()), int(flat.max())
    if low < 0 or high >= codebook_size:
        allowed = f"0 <= id < {codebook_size}"
        raise ValueError(f"ids lie in [{low}, {high}]: this codebook has {codebook_size} codes ({allowed})")
    counts = torch.unique(flat, return_counts=True)[1].double()
    shares = counts / counts.sum()
    entropy = -(shares * shares.log()).sum()
    return CodeUsage(share=counts.numel() / codebook_size, perplexity=float(entropy.exp()))
