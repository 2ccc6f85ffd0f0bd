"""What a tokenizer is made of: only swap points have a configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from openflextok.config.quantizers import QuantizerConfig
from openflextok.config.reading import ConfigError, check_positive, check_width, type_name


@dataclass(frozen=True)
class PixelsConfig:
    """The images themselves as latents."""

    scale: float = 1.0
    """Latents are pixels in [-1, 1] times this."""


@dataclass(frozen=True)
class AutoencoderKLConfig:
    """A KL autoencoder with the structure and the names of diffusers' `AutoencoderKL`."""

    latent_channels: int = 16
    block_out_channels: tuple[int, ...] = (128, 256, 512, 512)
    """Width per resolution; each but the last halves the resolution."""
    layers_per_block: int = 2
    norm_num_groups: int = 32
    scaling_factor: float = 1.0
    """Latents are (posterior mean - shift_factor) times this."""
    shift_factor: float = 0.0
    mid_block_add_attention: bool = True
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True

    def __post_init__(self) -> None:
        check_positive(self, "latent_channels", "block_out_channels", "layers_per_block", "norm_num_groups")
        if not self.scaling_factor or not math.isfinite(self.scaling_factor):
            raise ConfigError(
                f"scaling_factor is {self.scaling_factor}: latents are divided by it; give another number"
            )
        for width in self.block_out_channels:
            if width % self.norm_num_groups:
                raise ConfigError(
                    f"block_out_channels {width} is not a multiple of norm_num_groups {self.norm_num_groups}"
                )


@dataclass(frozen=True)
class RegisterViTConfig:
    """A ViT over latent patches with causally ordered register tokens."""

    channels: int
    """Latent channels."""
    patch_size: int
    """Latents per patch, along one side."""
    width: int
    depth: int
    grid: tuple[int, int]
    """Rows and columns of the position table, in patches."""
    num_registers: int
    slot_dim: int = 6
    """Dimensions of each register's output; the quantizer's."""
    head_dim: int = 64
    positions: Literal["sincos", "axial"] = "sincos"
    """2D positions: a fixed table, or one learned vector per row and per column, added."""
    interpolate_positions: bool = False
    """Stretch the position table to larger grids, instead of refusing them."""
    causal: bool = True
    """A register sees registers up to itself, and patches see none; otherwise all see all."""

    def __post_init__(self) -> None:
        check_positive(
            self, "channels", "patch_size", "width", "depth", "grid", "num_registers", "slot_dim", "head_dim"
        )
        check_width(self.width, self.head_dim)

    @property
    def num_slots(self) -> int:
        return self.num_registers

    @property
    def unit(self) -> int:
        """Latents of which both sides must be a multiple."""
        return self.patch_size

    @property
    def least_grid(self) -> tuple[int, int]:
        """The smallest grid of patches that it takes."""
        return 1, 1


@dataclass(frozen=True)
class GridViTConfig:
    """A ViT over latent patches without registers: each slot is a square of patches, row by row."""

    channels: int
    patch_size: int
    width: int
    depth: int
    grid: tuple[int, int]
    """Rows and columns of patches; other sizes are refused, as a slot is a place."""
    merge: int = 1
    """Patches along a side of the square that becomes one slot."""
    slot_dim: int = 6
    head_dim: int = 64
    positions: Literal["sincos", "axial"] = "sincos"
    interpolate_positions: Literal[False] = False

    def __post_init__(self) -> None:
        check_positive(self, "channels", "patch_size", "width", "depth", "grid", "merge", "slot_dim", "head_dim")
        check_width(self.width, self.head_dim)
        if any(side % self.merge for side in self.grid):
            raise ConfigError(f"grid {self.grid} is not a multiple of merge {self.merge}")

    @property
    def num_slots(self) -> int:
        return (self.grid[0] // self.merge) * (self.grid[1] // self.merge)

    @property
    def unit(self) -> int:
        return self.patch_size * self.merge

    @property
    def least_grid(self) -> tuple[int, int]:
        return self.grid


@dataclass(frozen=True)
class FullConfig:
    """Every sample keeps all tokens."""


@dataclass(frozen=True)
class UniformChoiceConfig:
    """Nested dropout: each sample keeps a number of tokens drawn uniformly from `choices`."""

    choices: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.choices or min(self.choices) < 1:
            raise ConfigError(f"length choices {self.choices} must each be at least 1")


@dataclass(frozen=True)
class UniformConfig:
    """Training times uniform in [0, 1)."""


@dataclass(frozen=True)
class LogitNormalConfig:
    """Training times sigmoid(mean + std * normal)."""

    mean: float = 0.0
    std: float = 1.0


@dataclass(frozen=True)
class ModeConfig:
    """Training times by Stable Diffusion 3's mode sampling."""

    scale: float = 0.25


def check_decoder(config: FlowDecoderConfig | PixelDecoderConfig) -> None:
    check_positive(config, "channels", "patch_size", "width", "depth", "grid", "num_tokens", "token_dim", "head_dim")
    check_width(config.width, config.head_dim)
    if not 1 <= config.feature_block <= config.depth:
        raise ConfigError(f"feature_block {config.feature_block} is not a block of this decoder (1..{config.depth})")


@dataclass(frozen=True)
class FlowDecoderConfig:
    """A two-stream transformer with adaLN-zero that predicts the velocity of a rectified flow."""

    channels: int
    patch_size: int
    width: int
    depth: int
    grid: tuple[int, int]
    num_tokens: int
    token_dim: int = 6
    head_dim: int = 64
    positions: Literal["sincos", "axial"] = "sincos"
    interpolate_positions: bool = False
    absence: Literal["mask", "remove"] = "mask"
    """How a dropped token is shown: one learned mask token in its place, or removed from the sequence."""
    null_probability: float = 0.1
    """Share of training samples that see the null condition, for guidance."""
    zero_null: bool = False
    """The null condition is the zero vector instead of a learned one."""
    max_timestep: float = 1.0
    timesteps: UniformConfig | LogitNormalConfig | ModeConfig = field(default_factory=ModeConfig)
    guidance: str | None = "apg:7.5"
    """Kind and scale that `decode` uses when nothing is said; a bare number given there keeps the kind."""
    feature_block: int = 2
    """The block (from 1) whose patch features alignment terms see."""

    def __post_init__(self) -> None:
        check_decoder(self)
        if not 0 <= self.null_probability <= 1:
            raise ConfigError(f"null_probability {self.null_probability} is not a probability (0..1)")
        if not 0 < self.max_timestep < math.inf:
            raise ConfigError(f"max_timestep {self.max_timestep} is not a positive number")


@dataclass(frozen=True)
class PixelDecoderConfig:
    """A ViT that rebuilds all patches of the latents in one pass, from a learned query at each place."""

    channels: int
    patch_size: int
    width: int
    depth: int
    grid: tuple[int, int]
    num_tokens: int
    token_dim: int = 6
    head_dim: int = 64
    positions: Literal["sincos", "axial"] = "sincos"
    interpolate_positions: bool = False
    absence: Literal["mask", "remove"] = "mask"
    loss: Literal["l1", "l2"] = "l2"
    """Mean absolute or mean squared error of latents."""
    feature_block: int = 2
    """The block (from 1) whose patch features alignment terms see."""

    def __post_init__(self) -> None:
        check_decoder(self)


@dataclass(frozen=True)
class TokenizerConfig:
    """A whole tokenizer: one choice per swap point."""

    image_size: tuple[int, int]
    """Native height and width in pixels; images are cropped to it when given as PIL."""
    space: PixelsConfig | AutoencoderKLConfig
    encoder: RegisterViTConfig | GridViTConfig
    quantizer: QuantizerConfig
    lengths: FullConfig | UniformChoiceConfig
    decoder: FlowDecoderConfig | PixelDecoderConfig

    def __post_init__(self) -> None:
        vae = self.space if isinstance(self.space, AutoencoderKLConfig) else None
        channels = vae.latent_channels if vae else 3
        downsample = 2 ** (len(vae.block_out_channels) - 1) if vae else 1
        unit = downsample * math.lcm(self.encoder.unit, self.decoder.patch_size)
        if min(self.image_size) < unit or any(side % unit for side in self.image_size):
            raise ConfigError(f"image_size {self.image_size} must be multiples of {unit}, at least {unit}")
        for name, part in (("encoder", self.encoder), ("decoder", self.decoder)):
            h, w = (side // (downsample * part.patch_size) for side in self.image_size)
            stretches = not isinstance(part, GridViTConfig) and part.interpolate_positions
            fits = (h, w) == part.grid if isinstance(part, GridViTConfig) else h <= part.grid[0] and w <= part.grid[1]
            if not (fits or stretches):
                raise ConfigError(
                    f"{name}.grid is {part.grid}, and image_size {self.image_size} has ({h}, {w}) patches: give it that grid"
                )
        if not self.encoder.channels == self.decoder.channels == channels:
            found = f"encoder {self.encoder.channels}, decoder {self.decoder.channels}"
            raise ConfigError(f"channels of {found} must both be the {channels} latent channels of the space")
        for name, dim in (("encoder slot_dim", self.encoder.slot_dim), ("decoder token_dim", self.decoder.token_dim)):
            if dim != self.quantizer.dim:
                kind = type_name(type(self.quantizer))
                raise ConfigError(f"{name} {dim} != the {self.quantizer.dim} dimensions of the {kind} quantizer")
        if self.encoder.num_slots != self.decoder.num_tokens:
            raise ConfigError(f"{self.encoder.num_slots} encoder slots but {self.decoder.num_tokens} decoder tokens")
        if isinstance(self.lengths, UniformChoiceConfig) and max(self.lengths.choices) > self.decoder.num_tokens:
            raise ConfigError(f"length choice {max(self.lengths.choices)} exceeds the {self.decoder.num_tokens} tokens")
