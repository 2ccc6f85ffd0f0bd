"""The swap points of a tokenizer: five abstract parts and the objective that a trainer sees.

    images -> LatentSpace -> latents -> Encoder -> Slots -> Quantizer -> LengthPolicy -> Tokens -> Decoder -> latents

Shape suffixes: B batch, N tokens, D token dimension, C channels, H x W pixels or latents.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from openflextok.types import Draws, Losses, Quantized, Slots, Tokens


class LatentSpace(nn.Module, ABC):
    """A frozen space in which the tokenizer works: pixels, or the latents of an autoencoder."""

    channels: int  # of the latents
    downsample: int  # pixels per latent, along one side
    way_back: tuple[str, ...] = ()
    """Prefixes of the weights that only `decode` reads: ids do not depend on them."""

    @abstractmethod
    def encode(
        self, images_BCHW: Float[Tensor, "B 3 H W"], posterior: str | Float[Tensor, "B C h w"] = "mean"
    ) -> Float[Tensor, "B C h w"]:
        """Images in [-1, 1] -> latents of about unit variance."""

    @abstractmethod
    def decode(self, latents_BCHW: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """Latents -> images, nominally in [-1, 1], not clamped."""


class Encoder(nn.Module, ABC):
    """Latents -> one vector per token to be."""

    num_slots: int

    @abstractmethod
    def forward(self, latents_BCHW: Float[Tensor, "B C h w"]) -> Slots: ...


class Quantizer(nn.Module, ABC):
    """Slots -> values from a finite set, with their ids; or continuous values without."""

    bits_per_token: float
    """Infinite for continuous values."""
    codebook_size: int
    """0 for continuous values."""

    @abstractmethod
    def forward(self, z_BND: Float[Tensor, "B N D"]) -> Quantized: ...

    @abstractmethod
    def lookup(self, ids_BN: Int64[Tensor, "B N"]) -> Float[Tensor, "B N D"]:
        """Ids -> the values that they stand for."""

    def end_step(self, applied: bool) -> None:
        """Called once after the optimizer's step, or where it was skipped: what learns without gradients, learns here."""
        return


class LengthPolicy(ABC):
    """Which tokens exist in training."""

    @abstractmethod
    def __call__(self, slots: Slots, draws: Draws) -> Bool[Tensor, "B N"]:
        """-> keep, True on a prefix."""


class Decoder(nn.Module, ABC):
    """Tokens -> latents; owns its training target and its way to generate."""

    num_tokens: int
    draft: Mapping[str, Any] = {}
    """Options of `decode` for a quick look."""
    options: Sequence[str] = ()
    """Names of all options of `decode`."""

    @abstractmethod
    def losses(self, tokens: Tokens, latents_BCHW: Float[Tensor, "B C h w"], draws: Draws) -> Losses: ...

    @abstractmethod
    def decode(
        self, tokens: Tokens, *, noise_BCHW: Float[Tensor, "B C h w"], **options: Any
    ) -> Float[Tensor, "B C h w"]:
        """-> latents, as many as the noise."""
