"""The causal transformer block in the Llama layout, and its cache of keys and values.

Shape suffixes: B batch, L new positions, S positions so far, T text, D width, H heads, E head dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from openflextok.nets.attention import attend
from openflextok.nets.transformer import AnyBlock, SwiGLU

KeysValues = tuple[Tensor, Tensor]  # (B, H, S, E) each


def rotary_table(start: int, end: int, head_dim: int, theta: float, device: torch.device) -> Tensor:
    """(2, L, E): cosines and sines of the angles of positions start..end-1, each frequency in both halves of E."""
    frequency_E = theta ** -(torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim)
    angle_LE = torch.arange(start, end, dtype=torch.float32, device=device)[:, None] * frequency_E.repeat(2)
    return torch.stack([angle_LE.cos(), angle_LE.sin()])


def rotate(x_BHLE: Tensor, table_2LE: Tensor) -> Tensor:
    """Rotary positions (arXiv 2104.09864), Llama's pairing: dimension i turns with dimension i + E/2."""
    cos_LE, sin_LE = table_2LE.to(x_BHLE.dtype)
    first, second = x_BHLE.chunk(2, dim=-1)
    return x_BHLE * cos_LE + torch.cat([-second, first], dim=-1) * sin_LE


@dataclass
class Cache:
    """Keys and values of the positions so far, in buffers of full length: (layers, 2, B, H, S, E)."""

    buffer: Tensor
    table_2SE: Tensor
    length: int = 0

    def extend(self, layer: int, k_BHLE: Tensor, v_BHLE: Tensor) -> KeysValues:
        """Write the new positions; returns all so far."""
        keys, values = self.buffer[layer]
        end = self.length + k_BHLE.shape[2]
        keys[:, :, self.length : end] = k_BHLE
        values[:, :, self.length : end] = v_BHLE
        return keys[:, :, :end], values[:, :, :end]


class CausalAttention(nn.Module):
    """Self-attention over earlier positions, with rotary positions and without biases."""

    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self, x_BLD: Tensor, table_2LE: Tensor, mask_LS: Tensor | None, cache: Cache | None, layer: int
    ) -> Tensor:
        B, L, D = x_BLD.shape
        qkv = self.qkv(x_BLD).view(B, L, 3, D // self.head_dim, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k = rotate(qkv[:2], table_2LE)
        v = qkv[2]
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        y_BHLE = attend(q, k, v, mask_LS, self.head_dim**-0.5)
        return self.out(y_BHLE.transpose(1, 2).reshape(B, L, D))


class CrossAttention(nn.Module):
    """Attention to a text, whose keys and values are projected once per text."""

    def __init__(self, width: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.query = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def project(self, context_BTD: Tensor) -> KeysValues:
        B, T, D = context_BTD.shape
        k, v = self.kv(context_BTD).view(B, T, 2, D // self.head_dim, self.head_dim).permute(2, 0, 3, 1, 4)
        return k, v

    def forward(self, x_BLD: Tensor, context: KeysValues, mask_B11T: Tensor) -> Tensor:
        B, L, D = x_BLD.shape
        q = self.query(x_BLD).view(B, L, D // self.head_dim, self.head_dim).transpose(1, 2)
        y_BHLE = attend(q, *context, mask_B11T, self.head_dim**-0.5)
        return self.out(y_BHLE.transpose(1, 2).reshape(B, L, D))


class CausalBlock(AnyBlock):
    """x + attention(norm(x)), [x + cross(norm(x)),] then x + mlp(norm(x))."""

    def __init__(self, width: int, head_dim: int, eps: float, cross: bool) -> None:
        super().__init__()
        self.norm_attention = nn.RMSNorm(width, eps)
        self.attention = CausalAttention(width, head_dim)
        self.norm_cross = nn.RMSNorm(width, eps) if cross else None
        self.cross = CrossAttention(width, head_dim) if cross else None
        self.norm_mlp = nn.RMSNorm(width, eps)
        self.mlp = SwiGLU(width)

    def project(self, context_BTD: Tensor) -> KeysValues:
        """Keys and values of a text for this block."""
        assert self.cross is not None, "this block attends to no text"
        return self.cross.project(context_BTD)

    def forward(
        self,
        x_BLD: Tensor,
        table_2LE: Tensor,
        mask_LS: Tensor | None = None,
        cache: Cache | None = None,
        layer: int = 0,
        context: KeysValues | None = None,
        context_mask_B11T: Tensor | None = None,
    ) -> Tensor:
        x_BLD = x_BLD + self.attention(self.norm_attention(x_BLD), table_2LE, mask_LS, cache, layer)
        if self.cross is not None and self.norm_cross is not None:
            assert context is not None and context_mask_B11T is not None, "this block needs a text to attend to"
            x_BLD = x_BLD + self.cross(self.norm_cross(x_BLD), context, context_mask_B11T)
        return x_BLD + self.mlp(self.norm_mlp(x_BLD))
