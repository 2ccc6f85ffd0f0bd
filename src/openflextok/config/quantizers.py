"""How slots become tokens: one configuration per quantizer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from openflextok.config.reading import ConfigError, check_positive

MOST_CODES = 2**62  # ids are int64


@dataclass(frozen=True)
class FSQConfig:
    """Finite scalar quantization."""

    levels: tuple[int, ...] = (8, 8, 8, 5, 5, 5)
    saturation_weight: float = 0.0
    """Weight of a loss on slots beyond +-2, where the bound is flat; 0 is FlexTok's and FSQ's own choice."""

    def __post_init__(self) -> None:
        if not self.levels or min(self.levels) < 2:
            raise ConfigError(f"FSQ levels {self.levels} must each be at least 2")
        if math.prod(self.levels) >= 2**63:
            raise ConfigError(f"FSQ levels {self.levels} make more codes than ids of 64 bits can count")

    @property
    def dim(self) -> int:
        """Dimensions of a token's value."""
        return len(self.levels)

    @property
    def codes(self) -> int:
        return math.prod(self.levels)


@dataclass(frozen=True)
class LFQConfig:
    """Lookup-free quantization: the sign of each dimension is one bit."""

    dim: int = 16
    """Dimensions of a token's value, and its bits."""
    commitment_weight: float = 0.25
    """Weight of the mean squared distance of slots from their codes."""
    entropy_weight: float = 0.1
    """Weight of a slot's entropy (nats) minus that of the mean over images: sure of itself, and all codes used."""
    inverse_temperature: float = 1.0
    """Of the probabilities behind the entropies."""

    def __post_init__(self) -> None:
        check_binary(self)

    @property
    def codes(self) -> int:
        return 2**self.dim


@dataclass(frozen=True)
class BSQConfig:
    """Binary spherical quantization: LFQ of slots on the unit sphere."""

    dim: int = 16
    commitment_weight: float = 0.0
    """The distance of a slot from its code is bounded already."""
    entropy_weight: float = 0.1
    inverse_temperature: float = 10.0

    def __post_init__(self) -> None:
        check_binary(self)

    @property
    def codes(self) -> int:
        return 2**self.dim


def check_binary(config: LFQConfig | BSQConfig) -> None:
    if not 1 <= config.dim <= 62:
        raise ConfigError(
            f"dim {config.dim} of a binary quantizer is not within 1..62: ids are whole numbers of 63 bits"
        )
    if config.inverse_temperature <= 0:
        raise ConfigError(f"inverse_temperature {config.inverse_temperature} must be above 0")


@dataclass(frozen=True)
class VQConfig:
    """Vector quantization with a learned codebook of unit vectors."""

    codes: int = 4096
    dim: int = 12
    decay: float | None = 0.99
    """Codes follow the moving average of their slots, with this decay a step; null: they learn by gradient."""
    commitment_weight: float = 0.25
    """Weight of the mean squared distance of slots from their codes."""
    restart_after: int = 100
    """Steps without a slot after which a code moves to one of the slots furthest from their codes; 0: never."""

    def __post_init__(self) -> None:
        check_positive(self, "dim")
        if self.codes < 2:
            raise ConfigError(f"a codebook of {self.codes} codes says nothing: give at least 2")
        if self.decay is not None and not 0 <= self.decay < 1:
            raise ConfigError(f"decay {self.decay} is not within 0 <= decay < 1")
        if self.restart_after < 0:
            raise ConfigError(f"restart_after {self.restart_after} must be 0 or more steps")


@dataclass(frozen=True)
class GroupedConfig:
    """A slot cut into equal groups of dimensions, each with its own quantizer; one id says them all."""

    inner: FSQConfig | LFQConfig | BSQConfig | VQConfig
    groups: int = 2

    def __post_init__(self) -> None:
        check_positive(self, "groups")
        if self.codes > MOST_CODES:
            raise ConfigError(f"{self.groups} groups of {self.inner.codes} codes do not fit into one id of 63 bits")

    @property
    def dim(self) -> int:
        return self.groups * self.inner.dim

    @property
    def codes(self) -> int:
        return self.inner.codes**self.groups


@dataclass(frozen=True)
class ContinuousConfig:
    """No quantization: slots scaled to unit mean square."""

    dim: int = 16

    def __post_init__(self) -> None:
        check_positive(self, "dim")


QuantizerConfig = FSQConfig | LFQConfig | BSQConfig | VQConfig | GroupedConfig | ContinuousConfig
