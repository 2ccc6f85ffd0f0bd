"""FlexTok (arXiv 2502.13967) at the paper's sizes, and one that trains on a single GPU."""

from __future__ import annotations

from dataclasses import replace

from openflextok.config import (
    AutoencoderKLConfig,
    FlowDecoderConfig,
    FSQConfig,
    ModeConfig,
    RegisterViTConfig,
    TokenizerConfig,
    UniformChoiceConfig,
)
from openflextok.lengths import power_lengths
from openflextok.train.settings import (
    DataConfig,
    Dinov2TeacherConfig,
    OptimConfig,
    RepaConfig,
    TokenizerRecipe,
    TrainConfig,
)

FSQ_64K = FSQConfig((8, 8, 8, 5, 5, 5))


def flextok(
    encoder_depth: int,
    decoder_depth: int,
    *,
    image_size: int = 256,
    num_tokens: int = 256,
    space: AutoencoderKLConfig | None = None,
    patch_size: int = 2,
) -> TokenizerConfig:
    """A FlexTok by its two depths; width is 64 x depth, heads have 64 dimensions.

    `space` is the released models' autoencoder shape by default (f8, 16 channels).
    """
    space = space or AutoencoderKLConfig(latent_channels=16)
    side = image_size // 2 ** (len(space.block_out_channels) - 1) // patch_size
    return TokenizerConfig(
        image_size=(image_size, image_size),
        space=space,
        encoder=RegisterViTConfig(
            space.latent_channels, patch_size, 64 * encoder_depth, encoder_depth, (side, side), num_tokens
        ),
        quantizer=FSQ_64K,
        lengths=UniformChoiceConfig(power_lengths(num_tokens)),
        decoder=FlowDecoderConfig(
            space.latent_channels,
            patch_size,
            64 * decoder_depth,
            decoder_depth,
            (side, side),
            num_tokens,
            timesteps=ModeConfig(0.25),
            null_probability=0.2,
        ),
    )


def _paper(name: str, encoder_depth: int, decoder_depth: int) -> TokenizerRecipe:
    optim = OptimConfig(learning_rate=5.6e-4, base_width=256, warmup_steps=4000, ema_decay=0.9999)
    train = TrainConfig(
        steps=190_000,
        batch_size=2048,
        micro_batch_size=32,
        parallel="fsdp",
        gradient_checkpointing=True,
        optim=optim,
        save_every=1000,
        preview_every=1000,
        log_every=50,
    )
    return TokenizerRecipe(
        name=name,
        tokenizer=flextok(encoder_depth, decoder_depth),
        data=DataConfig(image_size=(256, 256), workers=8),
        train=train,
        space_weights="EPFL-VILAB/flextok_vae_c16",
        repa=RepaConfig(Dinov2TeacherConfig()),
    )


def d12_d12() -> TokenizerRecipe:
    """FlexTok d12-d12: 257 M parameters without the autoencoder (arXiv 2502.13967).

    openflextok train flextok-d12-d12 --data FOLDER --out runs/d12 (under torchrun, one process per GPU)
    Cost: the paper's length of 390 M images; not run by us. Expected: not measured by us.
    """
    return _paper("flextok-d12-d12", 12, 12)


def d18_d18() -> TokenizerRecipe:
    """FlexTok d18-d18: 865 M parameters without the autoencoder (arXiv 2502.13967).

    openflextok train flextok-d18-d18 --data FOLDER --out runs/d18 (under torchrun, one process per GPU)
    Cost: the paper's length of 390 M images; not run by us. Expected: not measured by us.
    """
    return _paper("flextok-d18-d18", 18, 18)


def d18_d28() -> TokenizerRecipe:
    """FlexTok d18-d28: 2,456 M parameters without the autoencoder (arXiv 2502.13967).

    openflextok train flextok-d18-d28 --data FOLDER --out runs/d28 (under torchrun, one process per GPU)
    Cost: the paper's length of 390 M images; not run by us. Expected: not measured by us.
    """
    return _paper("flextok-d18-d28", 18, 28)


def one_gpu() -> TokenizerRecipe:
    """A FlexTok d8-d12 at 256 px, sized for one GPU with 24 GB: bf16, micro-batches of 32, checkpointed blocks.

    openflextok train flextok-one-gpu --data FOLDER --out runs/one-gpu --set space_weights=FOLDER
    Cost: 25.6 M images; not run by us. Expected: not measured by us.
    """
    paper = d12_d12()
    train = replace(paper.train, steps=100_000, batch_size=256, parallel="ddp")
    return replace(paper, name="flextok-one-gpu", tokenizer=flextok(8, 12), train=train)
