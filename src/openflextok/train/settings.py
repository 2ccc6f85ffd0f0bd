"""What a training run is made of: data only, one docstring per field."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from openflextok.config import (
    AutoencoderKLConfig,
    ConfigError,
    GeneratorConfig,
    GroupedConfig,
    PixelDecoderConfig,
    QuantizerConfig,
    TokenizerConfig,
    VQConfig,
)


@dataclass(frozen=True)
class DataConfig:
    """Which images, and how each is cropped."""

    image_size: tuple[int, int]
    """Height and width of a training crop, pixels."""
    source: str = ""
    """Training images; see `openflextok data --help` for the forms."""
    heldout: str = ""
    """Images for previews; the first training images when empty."""
    crop_scale: tuple[float, float] = (0.8, 1.0)
    """Side of a random crop, as a share of the largest crop that fits."""
    flip: bool = True
    """Mirror half of the images."""
    workers: int = 1
    """Data loading processes per rank; 0 loads in the training process."""
    cache: bool = False
    """Keep decoded images in memory, no larger than the crops need: for sets that fit; best with workers 0."""


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with warm-up, cosine decay, clipping and an exponential moving average."""

    learning_rate: float = 1e-3
    """Peak rate at `base_width`; hidden matrices of wider parts get base_width / width of it."""
    base_width: int = 256
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.05
    warmup_steps: int = 100
    final_ratio: float = 0.01
    """Learning rate at the last step, as a share of the peak."""
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    """Final decay; at step s it is at most (1 + s) / (10 + s), so that early averages are not the initial weights."""


@dataclass(frozen=True)
class TrainConfig:
    """Length, batch and machinery of a run."""

    steps: int
    batch_size: int
    """Images per step over all processes."""
    micro_batch_size: int = 0
    """Images per forward pass of one process; 0: the whole share at once."""
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "bf16"
    """bf16 is autocast: weights, norms, FSQ and losses stay float32."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """How several processes share the work."""
    attention: Literal["sdpa", "math", "flex"] = "sdpa"
    """Attention backend; on a CPU "math" trains faster than "sdpa" (docs/log.md)."""
    gradient_checkpointing: bool = False
    compile: bool = False
    """Compile each transformer block."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    log_every: int = 10
    save_every: int = 500
    keep: int = 2
    """Checkpoints kept."""
    preview_every: int = 500
    preview_images: int = 6
    nonfinite_patience: int = 10
    """Consecutive steps with a non-finite loss or gradient after which training stops."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every", "save_every", "preview_every", "keep", "nonfinite_patience"):
            if getattr(self, name) < 1:
                raise ConfigError(f"train.{name} is {getattr(self, name)}: it must be at least 1")
        if self.micro_batch_size < 0:
            raise ConfigError(f"train.micro_batch_size is {self.micro_batch_size}: it must be at least 0")


@dataclass(frozen=True)
class StubTeacherConfig:
    """A fixed random projection of pixel patches: for tests, not for quality."""

    dim: int = 32
    grid: int = 4


@dataclass(frozen=True)
class MobileNetTeacherConfig:
    """ImageNet MobileNetV2 features at one stride."""

    stride: Literal[8, 16, 32] = 16


@dataclass(frozen=True)
class Dinov2TeacherConfig:
    """DINOv2 patch features through transformers, from a folder or the Hub."""

    weights: str = "facebook/dinov2-large"


@dataclass(frozen=True)
class RepaConfig:
    """Representation alignment (arXiv 2410.06940) of the decoder's early patch features with a frozen teacher."""

    teacher: StubTeacherConfig | MobileNetTeacherConfig | Dinov2TeacherConfig
    weight: float = 1.0
    hidden: int = 1024
    """Width of the projection MLP."""


@dataclass(frozen=True)
class ImageLossesConfig:
    """Terms on rebuilt images, for a decoder that rebuilds them in one pass."""

    perceptual: Literal["alex", "vgg", "none"] = "none"
    """LPIPS network; its weights are fetched from a package registry once."""
    perceptual_weight: float = 1.0
    adversarial_weight: float = 0.0
    """0 trains without a critic."""
    adversarial_start: int = 1000
    """First step with the adversarial term."""


@dataclass(frozen=True)
class TokenizerRecipe:
    """A tokenizer and how to train it."""

    name: str
    tokenizer: TokenizerConfig
    data: DataConfig
    train: TrainConfig
    space_weights: str = ""
    """Weights of the latent space: a folder in diffusers' layout, a Hub id, or empty for a space without weights."""
    repa: RepaConfig | None = None
    image_losses: ImageLossesConfig | None = None
    start_from: str = ""
    """A checkpoint whose weights training starts with: a built-in name, a folder or a Hub id; its space is taken too."""
    frozen: tuple[Literal["encoder", "decoder"], ...] = ()
    """Parts that stay as they are; with a frozen encoder, tokens and fingerprint do too."""

    def __post_init__(self) -> None:
        if len(set(self.frozen)) == 2:
            raise ConfigError("frozen names both encoder and decoder: nothing would be left to train")
        if self.data.image_size != self.tokenizer.image_size:
            raise ConfigError(
                f"data.image_size {self.data.image_size} != tokenizer.image_size {self.tokenizer.image_size}"
            )
        if self.image_losses is not None and not isinstance(self.tokenizer.decoder, PixelDecoderConfig):
            raise ConfigError("image_losses need a decoder that rebuilds images in one pass: a PixelDecoder")
        if self.train.parallel == "fsdp" and self.image_losses is not None and self.image_losses.adversarial_weight:
            raise ConfigError("a critic cannot be sharded: train with train.parallel=ddp")
        if self.train.parallel == "fsdp" and learns_by_gradient(self.tokenizer.quantizer):
            raise ConfigError("a codebook that learns by gradient cannot be sharded: train with train.parallel=ddp")
        if isinstance(self.tokenizer.space, AutoencoderKLConfig) and not (self.space_weights or self.start_from):
            raise ConfigError("the latent space is an autoencoder: set space_weights to its folder or Hub id")


@dataclass(frozen=True)
class AutoencoderRecipe:
    """A small KL autoencoder and how to train it: L1 + perceptual + KL, and optionally an adversarial term."""

    name: str
    autoencoder: AutoencoderKLConfig
    data: DataConfig
    train: TrainConfig
    perceptual: Literal["alex", "vgg", "none"] = "alex"
    """LPIPS network; its weights are fetched from a package registry once."""
    perceptual_weight: float = 0.5
    kl_weight: float = 1e-3
    """Per latent value, nats."""
    adversarial_weight: float = 0.0
    """0 trains without a critic."""
    adversarial_start: int = 1000
    """First step with the adversarial term."""
    start_from: str = ""
    """An autoencoder whose weights training starts with: a folder in diffusers' layout, a Hub id, or a tokenizer's.
    Its shape and scaling factor take the place of `autoencoder`."""
    frozen: tuple[Literal["encoder"], ...] = ()
    """With a frozen encoder the latents stay as they are, and their scaling factor; only the way back learns."""
    latent_noise: float = 0.0
    """Largest standard deviation of noise added to the latents before they are decoded, in units of a latent space
    scaled to unit variance: the way back learns to forgive small errors of a decoder (arXiv 2510.11690). Each sample
    gets its own, uniform in 0 ... this. Needs a frozen encoder, whose scaling factor is known."""

    def __post_init__(self) -> None:
        if self.frozen and not self.start_from:
            raise ConfigError("frozen keeps an encoder that was never trained: set start_from to an autoencoder")
        if not 0 <= self.latent_noise < math.inf or (self.latent_noise and not self.frozen):
            raise ConfigError("latent_noise must be finite and at least 0, and above 0 it needs frozen=[encoder]")
        if self.train.parallel == "fsdp":
            raise ConfigError(
                "autoencoders train with train.parallel=ddp: they are small, and a critic cannot be sharded"
            )


@dataclass(frozen=True)
class TokenDataConfig:
    """Which tokens a generator learns."""

    source: str = ""
    """Folders that `openflextok tokenize` wrote, joined by " + "."""
    heldout: str = ""
    """The same for previews; the training tokens when empty."""


@dataclass(frozen=True)
class GeneratorRecipe:
    """A generator and how to train it."""

    name: str
    generator: GeneratorConfig
    train: TrainConfig
    data: TokenDataConfig = field(default_factory=TokenDataConfig)
    condition_dropout: float = 0.1
    """Share of samples that see no condition, for guidance."""

    def __post_init__(self) -> None:
        if not 0 <= self.condition_dropout <= 1:
            raise ConfigError(f"condition_dropout {self.condition_dropout} is not a probability (0..1)")


def learns_by_gradient(quantizer: QuantizerConfig) -> bool:
    """Whether a codebook is among the trained weights."""
    inner = quantizer.inner if isinstance(quantizer, GroupedConfig) else quantizer
    return isinstance(inner, VQConfig) and inner.decay is None


Recipe = TokenizerRecipe | AutoencoderRecipe | GeneratorRecipe
