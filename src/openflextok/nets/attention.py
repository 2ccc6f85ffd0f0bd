"""Multi-head self-attention with QK-norm; the backend is chosen at run time.

Shape suffixes: B batch, L sequence, D width, H heads, E head dimension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openflextok.nets.packing import apart, together

AttentionFunction = Callable[[Tensor, Tensor, Tensor, Tensor | None, float], Tensor]


def layer_norm(x: Tensor) -> Tensor:
    """LayerNorm over the last dimension without parameters, keeps the dtype; torch computes it in float32 inside."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-5).to(x.dtype)


def sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """An added mask stays float32 on the CPU; fused kernels of other devices take it in the dtype of q alone."""
    if mask is None or mask.dtype == torch.bool:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype), scale=scale)
    with torch.autocast("cpu", enabled=False):  # it would round the mask
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


def math(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Plain products and a float32 softmax: for training on a CPU, where the fused backward pass is slow."""
    scores = (q @ k.transpose(-1, -2)).float() * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1).to(v.dtype) @ v


def flex(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """flex_attention; compile the model around it for speed. Forward only on the CPU."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    if mask is None:
        return _tensor(flex_attention(q, k, v, scale=scale))
    full_mask = mask.expand(*torch.broadcast_shapes(mask.shape, (1, 1, q.shape[-2], k.shape[-2])))
    per_sample = full_mask.shape[0] > 1
    if mask.dtype != torch.bool:

        def biased(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            return score + full_mask[b if per_sample else 0, 0, i, j]

        return _tensor(flex_attention(q, k, v, score_mod=biased, scale=scale))

    def allowed(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return full_mask[b if per_sample else 0, 0, i, j]

    block_mask = create_block_mask(
        allowed, q.shape[0] if per_sample else None, None, q.shape[-2], k.shape[-2], device=str(q.device)
    )
    return _tensor(flex_attention(q, k, v, block_mask=block_mask, scale=scale))


def _tensor(value: object) -> Tensor:
    assert isinstance(value, Tensor)
    return value


BACKENDS: dict[str, AttentionFunction] = {"sdpa": sdpa, "math": math, "flex": flex}
_backend: list[AttentionFunction] = [sdpa]


@contextmanager
def attention_backend(name: Literal["sdpa", "math", "flex"]) -> Iterator[None]:
    """Run every attention inside this context with the named backend ("sdpa" is the default)."""
    if name not in BACKENDS:
        raise ValueError(f"unknown attention backend {name!r}: give one of {', '.join(BACKENDS)}")
    _backend.append(BACKENDS[name])
    try:
        yield
    finally:
        _backend.pop()


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Attention (B, H, L, E) with the backend of the moment."""
    return _backend[-1](q, k, v, mask, scale)


class Attention(nn.Module):
    """Self-attention without biases; queries and keys are normalised per head, scores scaled by 8 / head_dim."""

    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x_BLD: Tensor, mask: Tensor | None = None) -> Tensor:
        """`mask` broadcasts to (B, 1, L, L): boolean, True where row may look at column, or added to the scores."""
        return self.together([x_BLD], [mask])[0]

    def together(self, groups: Sequence[Tensor], masks: Sequence[Tensor | None]) -> list[Tensor]:
        """Every sample (L, D) of every group (B, L, D) attends to itself, under the mask of its group."""
        qkv = apart(self.qkv(together(groups)).unflatten(-1, (3, -1, self.head_dim)), groups)
        mixed = [self.mix(qkv_BL3HE, mask) for qkv_BL3HE, mask in zip(qkv, masks, strict=True)]
        return apart(self.out(together(mixed)), groups)

    def mix(self, qkv_BL3HE: Tensor, mask: Tensor | None) -> Tensor:
        """Queries, keys and values of sequences -> (B, L, D)."""
        q, k = layer_norm(qkv_BL3HE[:, :, :2]).permute(2, 0, 3, 1, 4)  # (B, H, L, E)
        y_BHLE = attend(q, k, qkv_BL3HE[:, :, 2].transpose(1, 2), mask, 8 / self.head_dim)
        return y_BHLE.transpose(1, 2).flatten(2)
