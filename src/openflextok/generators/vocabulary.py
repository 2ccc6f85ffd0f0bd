"""The rows of a GPT's embedding and head: digits of token ids, classes, and one special row.

Shape suffixes: B batch, N tokens, S steps of the model (N times the digits of an id).
"""

from __future__ import annotations

import torch
from torch import Tensor

MULTIPLE = 1024  # rows are rounded up: 64,000 ids + 1,000 classes + special rows = 65,536


class Vocabulary:
    """[digit 0 | digit 1 | ... | classes | special | unused].

    Ids are numbers of mixed radix, least significant digit first; with one digit a row is an id.
    """

    def __init__(self, digits: tuple[int, ...], classes: int) -> None:
        self.digits, self.classes = digits, classes
        self.codes = sum(digits)
        self.special = self.codes + classes
        self.rows = -(-(self.special + 1) // MULTIPLE) * MULTIPLE

    def split(self, ids_BN: Tensor) -> Tensor:
        """Ids (B, N) -> rows (B, S)."""
        rows, start, rest_BN = [], 0, ids_BN
        for radix in self.digits:
            rows.append(start + rest_BN % radix)
            start, rest_BN = start + radix, rest_BN // radix
        return torch.stack(rows, dim=-1).flatten(1)

    def join(self, rows_BS: Tensor) -> Tensor:
        """Rows (B, S) -> ids (B, N)."""
        ids_BN = torch.zeros_like(rows_BS[:, :: len(self.digits)])
        start, place = 0, 1
        for i, radix in enumerate(self.digits):
            ids_BN = ids_BN + place * (rows_BS[:, i :: len(self.digits)] - start)
            start, place = start + radix, place * radix
        return ids_BN

    def span(self, step: int) -> slice:
        """The rows that may come at a step."""
        digit = step % len(self.digits)
        start = sum(self.digits[:digit])
        return slice(start, start + self.digits[digit])
