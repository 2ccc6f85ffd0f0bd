"""What a condition is, and what turns labels or captions into one.

Shape suffixes: B batch, M vectors in front of the tokens, T rows of a prepared condition or of a text, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

Embed = Callable[[Tensor], Tensor]  # rows of the GPT's vocabulary -> vectors


@dataclass(frozen=True)
class Condition:
    """What a GPT knows of the wanted picture."""

    prefix_BMD: Tensor
    """What stands in front of the tokens: one vector or more."""
    context_BTD: Tensor | None = None
    """A text to which every block attends."""
    context_mask_BT: Tensor | None = None


class Conditioner(nn.Module, ABC):
    """Labels or captions -> prepared integers (data, fit for batches and files) -> a condition."""

    kind: Literal["labels", "captions"]
    classes: tuple[str, ...] = ()
    prefix_length: int
    cross: bool = False
    """Whether blocks attend to a text."""

    def frozen(self) -> Mapping[str, nn.Module]:
        """Networks, by name, that conditions go through and that are no part of the checkpoint."""
        return {}

    @abstractmethod
    def wanted(self, label: str | None, caption: str | None) -> str | None:
        """Which of an example's words is its condition."""

    @abstractmethod
    def prepare(self, wanted: Sequence[Any], cut: bool = False) -> Tensor:
        """Labels or captions, None for no condition, -> (B, T) int64. ValueError for what cannot be a condition.

        cut: shorten what is too long, as training does, instead of refusing it.
        """

    @abstractmethod
    def forward(self, prepared_BT: Tensor, embed: Embed) -> Condition: ...
