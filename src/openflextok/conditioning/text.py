"""Captions as conditions: a frozen text encoder's tokens through a small MLP.

Shape suffixes: B batch, T text tokens, E width of the text encoder, D width of the GPT.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openflextok.conditioning.base import Condition, Conditioner, Embed
from openflextok.conditioning.encoder import TextEncoder
from openflextok.config import TextCrossConfig, TextPrefixConfig


class TextMLP(nn.Module):
    """LayerNorm -> Linear -> GELU -> Linear."""

    def __init__(self, encoder_width: int, width: int) -> None:
        super().__init__()
        self.input = nn.Linear(encoder_width, width)
        self.output = nn.Linear(width, width)

    def forward(self, features_BTE: Tensor) -> Tensor:
        x_BTE = F.layer_norm(features_BTE, features_BTE.shape[-1:])
        return self.output(F.gelu(self.input(x_BTE.to(self.input.weight.dtype))))


class TextPrefix(Conditioner):
    """The text's tokens stand in front, places without text hold one learned vector, and the special row ends them."""

    kind = "captions"

    def __init__(self, config: TextPrefixConfig, width: int, first_row: int) -> None:
        super().__init__()
        self.encoder = TextEncoder(config.encoder, config.encoder_width, config.length)
        self.mlp = TextMLP(config.encoder_width, width)
        self.empty = nn.Parameter(torch.zeros(width))
        self.special, self.prefix_length = first_row, config.length + 1

    def frozen(self) -> Mapping[str, nn.Module]:
        return {"text_encoder": self.encoder.network}

    def wanted(self, label: str | None, caption: str | None) -> str | None:
        return caption

    def prepare(self, wanted: Sequence[Any], cut: bool = False) -> Tensor:
        return self.encoder.prepare(wanted, cut)

    def forward(self, prepared_BT: Tensor, embed: Embed) -> Condition:
        features_BTE, mask_BT = self.encoder(prepared_BT)
        text_BTD = self.mlp(features_BTE)
        text_BTD = text_BTD.where(mask_BT[..., None], self.empty.to(text_BTD.dtype))
        return Condition(torch.cat([text_BTD, embed(torch.full_like(prepared_BT[:, :1], self.special))], dim=1))


class TextCross(Conditioner):
    """The special row stands in front; every block attends to the text."""

    kind = "captions"
    prefix_length = 1
    cross = True

    def __init__(self, config: TextCrossConfig, width: int, first_row: int) -> None:
        super().__init__()
        self.encoder = TextEncoder(config.encoder, config.encoder_width, config.length)
        self.mlp = TextMLP(config.encoder_width, width)
        self.special = first_row

    def frozen(self) -> Mapping[str, nn.Module]:
        return {"text_encoder": self.encoder.network}

    def wanted(self, label: str | None, caption: str | None) -> str | None:
        return caption

    def prepare(self, wanted: Sequence[Any], cut: bool = False) -> Tensor:
        return self.encoder.prepare(wanted, cut)

    def forward(self, prepared_BT: Tensor, embed: Embed) -> Condition:
        features_BTE, mask_BT = self.encoder(prepared_BT)
        start_B1D = embed(torch.full_like(prepared_BT[:, :1], self.special))
        return Condition(start_B1D, self.mlp(features_BTE), mask_BT)
