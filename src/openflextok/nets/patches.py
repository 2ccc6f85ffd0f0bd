"""Patches and their positions.

Shape suffixes: B batch, C channels, H x W latents, P patches, D width, h x w patch grid.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def patchify(x_BCHW: Tensor, size: int) -> Tensor:
    """(B, C, H, W) -> (B, P, size * size * C), patches row by row, channel fastest inside a patch."""
    B, C, H, W = x_BCHW.shape
    x = x_BCHW.view(B, C, H // size, size, W // size, size).permute(0, 2, 4, 3, 5, 1)
    return x.reshape(B, (H // size) * (W // size), size * size * C)


def unpatchify(x_BPK: Tensor, size: int, grid: tuple[int, int]) -> Tensor:
    """The inverse of `patchify` for a grid of (rows, columns)."""
    B, _, K = x_BPK.shape
    h, w = grid
    x = x_BPK.view(B, h, w, size, size, K // size**2).permute(0, 5, 1, 3, 2, 4)
    return x.reshape(B, K // size**2, h * size, w * size)


def sincos_table(grid: tuple[int, int], width: int, temperature: float = 10_000.0) -> Tensor:
    """(1, D, h, w): a quarter each of sin and cos of the row, then of the column.

    Square tables are those of the released weights; others are folded there, (w, h) read as (h, w), and are not here.
    """
    h, w = grid
    quarter = width // 4
    omega = 1 / temperature ** (torch.arange(quarter, dtype=torch.float32) / quarter)
    row_hx, column_wx = (
        torch.cat([angle.sin(), angle.cos()], dim=1)
        for angle in (torch.arange(side, dtype=torch.float32)[:, None] * omega for side in grid)
    )
    table_hwD = torch.cat([row_hx[:, None].expand(-1, w, -1), column_wx.expand(h, -1, -1)], dim=2)
    return table_hwD.permute(2, 0, 1)[None].contiguous()


def _sincos(grid: tuple[int, int], width: int) -> nn.Parameter:
    return nn.Parameter(sincos_table(grid, width), requires_grad=False)


def _axial(grid: tuple[int, int], width: int) -> nn.Parameter:
    return nn.Parameter(0.02 * torch.randn(2, 1, width, max(grid)))


def _table(positions: Tensor) -> Tensor:
    return positions


def _sum_of_axes(positions: Tensor) -> Tensor:
    """A vector per row and one per column, (2, 1, D, n) -> their sums (1, D, n, n)."""
    rows, columns = positions
    return rows[..., :, None] + columns[..., None, :]


# kind -> (fresh parameter for a grid and a width, parameter -> table (1, D, >= h, >= w))
POSITIONS: dict[str, tuple[Callable[[tuple[int, int], int], nn.Parameter], Callable[[Tensor], Tensor]]] = {
    "sincos": (_sincos, _table),
    "axial": (_axial, _sum_of_axes),
}


class Places(nn.Module):
    """Where patches are: a (cropped or stretched) 2D table of positions."""

    def __init__(self, patch_size: int, width: int, grid: tuple[int, int], positions: str, interpolate: bool) -> None:
        super().__init__()
        self.patch_size, self.interpolate, self.native = patch_size, interpolate, grid
        make, self._to_table = POSITIONS[positions]
        self.positions = make(grid, width)

    def grid(self, x_BCHW: Tensor) -> tuple[int, int]:
        """Rows and columns of patches; ValueError names the sizes that would fit."""
        H, W = x_BCHW.shape[-2:]
        size, (rows, columns) = self.patch_size, self.native
        h, w = H // size, W // size
        divides = H % size == 0 and W % size == 0 and h and w
        if not divides or not (self.interpolate or (h <= rows and w <= columns)):
            most = "" if self.interpolate else f" up to {rows * size}x{columns * size}"
            raise ValueError(f"cannot patch {H}x{W} latents: both sides must be multiples of {size}{most}")
        return h, w

    def table(self, grid: tuple[int, int]) -> Tensor:
        """Positions (1, P, D) for a grid: the table's corner, or the table stretched along the sides that exceed it."""
        (h, w), (rows, columns) = grid, self.native
        table = self._to_table(self.positions)[..., :rows, :columns]
        size = (max(h, rows), max(w, columns))
        if size != self.native:
            table = F.interpolate(table.float(), size=size, mode="bilinear", align_corners=True).to(table.dtype)
        return table[..., :h, :w].flatten(2).transpose(1, 2)


class PatchEmbedding(Places):
    """Latents -> patches -> Linear to the width, plus the table of positions."""

    def __init__(
        self, channels: int, patch_size: int, width: int, grid: tuple[int, int], positions: str, interpolate: bool
    ) -> None:
        super().__init__(patch_size, width, grid, positions, interpolate)
        self.projection = nn.Linear(channels * patch_size**2, width)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        grid = self.grid(x_BCHW)
        return self.projection(patchify(x_BCHW, self.patch_size)) + self.table(grid)


class PatchQueries(Places):
    """One learned query, at every place of a grid."""

    def __init__(self, patch_size: int, width: int, grid: tuple[int, int], positions: str, interpolate: bool) -> None:
        super().__init__(patch_size, width, grid, positions, interpolate)
        self.query = nn.Parameter(torch.randn(width))

    def forward(self, batch: int, grid: tuple[int, int]) -> Tensor:
        return (self.query + self.table(grid)).expand(batch, -1, -1)
