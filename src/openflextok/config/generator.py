"""What a generator is made of: a GPT over token ids, and what it is conditioned on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from openflextok.config.reading import ConfigError, check_positive, check_width


@dataclass(frozen=True)
class GPTConfig:
    """A decoder-only transformer in the Llama layout: RMSNorm, RoPE, SwiGLU, no biases."""

    width: int
    depth: int
    codebook_size: int
    """Ids of the tokenizer."""
    num_tokens: int
    """Tokens of an image."""
    digits: tuple[int, ...] = ()
    """Radices into which an id is split, least significant first, each digit one step of the model; their product is
    the codebook's size. Empty: the id itself."""
    head_dim: int = 64
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        check_positive(self, "width", "depth", "codebook_size", "num_tokens", "head_dim")
        check_width(self.width, self.head_dim)
        if self.digits and (min(self.digits) < 2 or math.prod(self.digits) != self.codebook_size):
            raise ConfigError(
                f"digits {self.digits} must each be at least 2 and multiply to the codebook's {self.codebook_size} ids"
            )


@dataclass(frozen=True)
class LabelPrefixConfig:
    """A class id in front of the tokens; the special id stands there for no class."""

    classes: tuple[str, ...] = ()
    """Names of the classes; those of the training data when empty."""


@dataclass(frozen=True)
class LabelSumConfig:
    """A class embedding added to the start (the paper's own form); zero stands for no class."""

    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextPrefixConfig:
    """Tokens of a frozen text encoder, through a small MLP, in front of the tokens."""

    encoder: str = "minilm"
    """"minilm", a folder in transformers' layout, or a Hub id."""
    encoder_width: int = 384
    length: int = 24
    """Text tokens; shorter captions are filled up, longer ones cut in training and refused elsewhere."""


@dataclass(frozen=True)
class TextCrossConfig:
    """Tokens of a frozen text encoder, through a small MLP, to which every block attends (the paper's own form)."""

    encoder: str = "google/flan-t5-xl"
    encoder_width: int = 2048
    length: int = 120


ConditionerConfig = LabelPrefixConfig | LabelSumConfig | TextPrefixConfig | TextCrossConfig


@dataclass(frozen=True)
class GeneratorConfig:
    """A GPT, its condition, and the tokenizer whose ids it speaks."""

    gpt: GPTConfig
    conditioner: ConditionerConfig = field(default_factory=LabelPrefixConfig)
    tokenizer: str = ""
    """Name, folder or Hub id; that of the training data when empty."""
    fingerprint: str = ""
    """Of the tokenizer; ids of another one mean something else."""
    guidance: float = 1.5
    """Scale that `sample` uses when nothing is said; 1 is the conditional pass alone."""
