"""Tiny tokenizers with random weights everywhere, so that no zero-initialised head or gate hides a mistake."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from beartype import beartype
from jaxtyping import jaxtyped
from safetensors.torch import load_file
from torch import Tensor, nn

from openflextok.config import (
    AutoencoderKLConfig,
    FlowDecoderConfig,
    FSQConfig,
    PixelsConfig,
    RegisterViTConfig,
    TokenizerConfig,
    UniformChoiceConfig,
)
from openflextok.tokenizer import Tokenizer
from openflextok.types import Losses, Quantized, Slots, Tokens

for travels in (Losses, Quantized, Slots, Tokens):  # every test checks the shapes and types that these announce
    jaxtyped(typechecker=beartype)(travels)

UNITS = Path(__file__).parent / "data" / "units"


@pytest.fixture
def units() -> Callable[[str], dict[str, Tensor]]:
    """Reference vectors by file name; see data/units/README.md. A missing file is a failure."""
    return lambda name: load_file(UNITS / f"{name}.safetensors")


@pytest.fixture
def make_config() -> Callable[..., TokenizerConfig]:
    """The configuration of a tiny tokenizer: 16 px, 4 x 4 patches, 8 tokens; keywords change the decoder."""

    def make(space: Literal["pixels", "kl"] = "pixels", interpolate: bool = False, **decoder: Any) -> TokenizerConfig:
        kl = AutoencoderKLConfig(4, (8, 16), 1, norm_num_groups=4, scaling_factor=0.7, shift_factor=0.1)
        channels, patch = (3, 4) if space == "pixels" else (4, 2)
        shape = {"head_dim": 16, "interpolate_positions": interpolate}
        return TokenizerConfig(
            image_size=(16, 16),
            space=PixelsConfig() if space == "pixels" else kl,
            encoder=RegisterViTConfig(channels, patch, 32, 2, (4, 4), 8, **shape),  # pyright: ignore
            quantizer=FSQConfig(),
            lengths=UniformChoiceConfig((1, 2, 4, 8)),
            decoder=FlowDecoderConfig(channels, patch, 32, 2, (4, 4), 8, **(shape | decoder)),  # pyright: ignore
        )

    return make


@pytest.fixture
def randomise() -> Callable[..., Any]:
    """Give every parameter but fixed tables a random value, reproducibly; returns the module, in evaluation mode."""

    def apply(module: nn.Module, seed: int = 0, std: float = 0.2) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if not name.endswith("patches.positions"):
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
        return module.eval()

    return apply


@pytest.fixture
def make_tokenizer(make_config, randomise) -> Callable[..., Tokenizer]:
    """A tiny tokenizer with random weights; arguments as `make_config`."""
    return lambda *args, **options: randomise(Tokenizer(make_config(*args, **options)))


@pytest.fixture(params=["mask", "remove"])
def tokenizer(request, make_tokenizer) -> Tokenizer:
    """A tiny tokenizer over pixels, once for each form of absence."""
    return make_tokenizer(absence=request.param)


@pytest.fixture
def kl_tokenizer(make_tokenizer) -> Tokenizer:
    """A tiny tokenizer over the latents of a tiny autoencoder."""
    return make_tokenizer("kl")


@pytest.fixture
def images() -> Tensor:
    """Smooth random images (5, 3, 16, 16) in [-1, 1]."""
    coarse = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(3)) * 2 - 1
    return nn.functional.interpolate(coarse, size=(16, 16), mode="bilinear").clamp(-1, 1)
