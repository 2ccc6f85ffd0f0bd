"""The shortest prefix whose reconstruction is near enough, how complex an image is, and whether the two go together.

    distances at lengths of a bisection, or at all of them -> shortest length at or below a target
    image -> bytes of lossless WebP, or mean squared gradient -> its complexity
    lengths and complexities of many images -> Spearman's rank correlation, with a bootstrap interval

Bisection takes for granted that more tokens come nearer. `rises` says how often they do not, and `shortest_of_curve` finds
the same lengths without it.

Shapes: B images, C channels, H height, W width, N tokens, R resamples.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import torch
from torch import Tensor

from openflextok.evaluate.bootstrap import RESAMPLES
from openflextok.pixels import to_pil


def shortest_lengths(distances_at: Callable[[Tensor], Tensor], target: float, batch: int, most: int) -> Tensor:
    """(B,) the shortest length at or below `target`, by bisection; most + 1 where all tokens do not reach it.

    distances_at: lengths (B,), 0 for images that are not asked for, -> distances (B,).
    """
    low_B, high_B = torch.zeros(batch, dtype=torch.int64), torch.full((batch,), most)
    high_B[~(distances_at(high_B) <= target)] = most + 1
    while bool(((high_B - low_B > 1) & (high_B <= most)).any()):
        open_B = (high_B - low_B > 1) & (high_B <= most)
        middle_B = torch.where(open_B, (low_B + high_B) // 2, 0)
        near_B = distances_at(middle_B) <= target
        high_B = torch.where(open_B & near_B, middle_B, high_B)
        low_B = torch.where(open_B & ~near_B, middle_B, low_B)
    return high_B


def shortest_of_curve(curve_BN: Tensor, target: float) -> Tensor:
    """(B,) the first length at or below `target`; N + 1 where there is none."""
    near_BN = torch.cat([curve_BN <= target, torch.ones(len(curve_BN), 1, dtype=torch.bool)], dim=1)
    return near_BN.int().argmax(1) + 1


def rises(curve_BN: Tensor) -> Tensor:
    """(B,) the share of steps from one length to the next at which the distance grows; 0 where there is one length."""
    return (curve_BN.diff(dim=1) > 0).sum(1) / max(1, curve_BN.shape[1] - 1)


# -- complexity -----------------------------------------------------------------------------------------------------


def webp_bytes(images_BCHW: Tensor) -> Tensor:
    """(B,) bytes of each image in [-1,1] as lossless WebP (8 bits, Pillow's method 6, quality 100)."""
    sizes = []
    for picture in to_pil(images_BCHW):
        file = io.BytesIO()
        picture.save(file, "WEBP", lossless=True, quality=100, method=6)
        sizes.append(file.tell())
    return torch.tensor(sizes)


def gradient_energy(images_BCHW: Tensor) -> Tensor:
    """(B,) mean squared difference of neighbouring pixels, down plus across."""
    down, across = images_BCHW.diff(dim=2), images_BCHW.diff(dim=3)
    return down.square().mean((1, 2, 3)) + across.square().mean((1, 2, 3))


# -- rank correlation -----------------------------------------------------------------------------------------------


def ranks(values_B: Tensor) -> Tensor:
    """(..., B) ranks from 1, equal values sharing the mean of theirs; float64."""
    ordered = values_B.sort(dim=-1).values.contiguous()
    below = torch.searchsorted(ordered, values_B.contiguous(), right=False)
    upto = torch.searchsorted(ordered, values_B.contiguous(), right=True)
    return (below + upto + 1).double() / 2


def spearman(a_B: Tensor, b_B: Tensor) -> Tensor:
    """Rank correlation over the last dimension, in [-1,1]; NaN where all values are equal."""
    a_B, b_B = (ranks(values) - (values.shape[-1] + 1) / 2 for values in (a_B, b_B))
    return (a_B * b_B).sum(-1) / (a_B.square().sum(-1) * b_B.square().sum(-1)).sqrt()


def spearman_interval(a_B: Tensor, b_B: Tensor, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Ends of the percentile bootstrap interval of `spearman` over images (B. Efron, 1979)."""
    stream = torch.Generator().manual_seed(seed)
    choices_RB = (torch.randint(len(a_B), (1, len(a_B)), generator=stream) for _ in range(RESAMPLES))
    found_R = torch.cat([spearman(a_B[choice_1B], b_B[choice_1B]) for choice_1B in choices_RB])
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.nanquantile(found_R, ends).tolist()
    return low, high
