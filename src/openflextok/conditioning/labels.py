"""Class labels as conditions.

Shape suffixes: B batch, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from openflextok.conditioning.base import Condition, Conditioner, Embed
from openflextok.config import LabelPrefixConfig, LabelSumConfig, nearest
from openflextok.types import whole


def class_number(label: Any, classes: tuple[str, ...]) -> int:
    """A class's name or number -> its number; None -> the number after the last."""
    if label is None:
        return len(classes)
    if isinstance(label, str):
        if label not in classes:
            raise ValueError(f"unknown label {label!r}{nearest(label, classes)}")
        return classes.index(label)
    number = whole(label)
    if number is None or not 0 <= number < len(classes):
        raise ValueError(f"label {label!r} is not a class: give a name, or a number with 0 <= label < {len(classes)}")
    return number


class LabelPrefix(Conditioner):
    """The class's row of the vocabulary stands in front; the special row where there is no class."""

    kind = "labels"
    prefix_length = 1

    def __init__(self, config: LabelPrefixConfig, width: int, first_row: int) -> None:
        super().__init__()
        self.classes, self.first_row = config.classes, first_row

    def wanted(self, label: str | None, caption: str | None) -> str | None:
        return label

    def prepare(self, wanted: Sequence[Any], cut: bool = False) -> Tensor:
        return torch.tensor([[class_number(label, self.classes)] for label in wanted])

    def forward(self, prepared_BT: Tensor, embed: Embed) -> Condition:
        return Condition(embed(self.first_row + prepared_BT))  # the special row follows the classes


class LabelSum(Conditioner):
    """The special row stands in front, plus the class's vector; zero where there is no class."""

    kind = "labels"
    prefix_length = 1

    def __init__(self, config: LabelSumConfig, width: int, first_row: int) -> None:
        super().__init__()
        self.classes, self.special = config.classes, first_row + len(config.classes)
        self.embedding = nn.Embedding(len(config.classes) + 1, width, padding_idx=len(config.classes))
        nn.init.normal_(self.embedding.weight[:-1], std=0.02)

    def wanted(self, label: str | None, caption: str | None) -> str | None:
        return label

    def prepare(self, wanted: Sequence[Any], cut: bool = False) -> Tensor:
        return torch.tensor([[class_number(label, self.classes)] for label in wanted])

    def forward(self, prepared_BT: Tensor, embed: Embed) -> Condition:
        return Condition(embed(torch.full_like(prepared_BT, self.special)) + self.embedding(prepared_BT))
