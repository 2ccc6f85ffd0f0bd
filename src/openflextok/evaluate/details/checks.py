"""What two checks share: finding things in originals, and scoring each of them in other versions of its picture.

    find     pictures (B) -> items, each with its row and its height
    score    items, other versions of the pictures -> (I, F), the same items at the same boxes

Shapes: B pictures, I items, F figures, D numbers of an item.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from PIL import Image
from torch import Tensor

from openflextok.evaluate.parts import Parts
from openflextok.evaluate.reference import ReferenceBatch
from openflextok.evaluate.results import Network, Setting


@dataclass(frozen=True)
class Item:
    """A word or a face of an original."""

    row: int
    """Of its picture within the pictures given."""
    share: float
    """Its height as a share of the picture's."""


ItemT = TypeVar("ItemT", bound=Item)


class Check(ABC, Generic[ItemT]):
    """One kind of thing to look for."""

    noun: str
    """"words"."""
    sought: str
    """What was looked for, for the message where nothing was found."""
    figures: tuple[str, ...]
    networks: tuple[Network, ...]
    """Whose figures these are, first; then that which found the items."""
    settings: tuple[Setting, ...]

    @abstractmethod
    def find(self, stretch: ReferenceBatch) -> list[ItemT]:
        """The items of these pictures."""

    @abstractmethod
    def score(self, items: Sequence[ItemT], pictures: Sequence[Image.Image]) -> Tensor:
        """(I,F): the figures of each item in the version of the pictures given."""

    @abstractmethod
    def alone(self, items: Sequence[ItemT], pictures: Sequence[Image.Image]) -> Mapping[str, Tensor]:
        """Of the originals alone, (I,D) each: what `references` reads."""

    @abstractmethod
    def references(self, parts: Parts) -> Mapping[str, Tensor]:
        """Figures to set beside those of the tokenizer: metric -> (I,) over all items, NaN where there is none."""
