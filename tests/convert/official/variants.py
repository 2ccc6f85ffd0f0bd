"""What an official config can vary: one tiny tokenizer for each."""

from dataclasses import replace
from random import Random
from typing import Any

from openflextok.config import (
    AutoencoderKLConfig,
    FlowDecoderConfig,
    FSQConfig,
    LogitNormalConfig,
    ModeConfig,
    RegisterViTConfig,
    TokenizerConfig,
    UniformChoiceConfig,
    UniformConfig,
)
from openflextok.lengths import power_lengths

SPACE = AutoencoderKLConfig(4, (8, 16), 1, norm_num_groups=4, scaling_factor=0.7)
ENCODER = RegisterViTConfig(4, 2, 64, 1, (4, 4), 8, head_dim=64)
DECODER = FlowDecoderConfig(4, 2, 128, 3, (4, 4), 8, head_dim=64, null_probability=0.2)
PLAIN = TokenizerConfig((16, 16), SPACE, ENCODER, FSQConfig(), UniformChoiceConfig(power_lengths(8)), DECODER)

VARIANTS = {
    "plain": PLAIN,
    "depths": replace(PLAIN, encoder=replace(ENCODER, depth=3), decoder=replace(DECODER, depth=1, feature_block=1)),
    "width": replace(PLAIN, encoder=replace(ENCODER, width=128), decoder=replace(DECODER, width=64)),
    "head_dim": replace(PLAIN, encoder=replace(ENCODER, head_dim=32), decoder=replace(DECODER, head_dim=16)),
    "patch": replace(
        PLAIN,
        encoder=replace(ENCODER, patch_size=1, grid=(8, 8)),
        decoder=replace(DECODER, patch_size=1, grid=(8, 8)),
    ),
    "two patches": replace(
        PLAIN, encoder=replace(ENCODER, patch_size=4, grid=(2, 2)), decoder=replace(DECODER, patch_size=1, grid=(8, 8))
    ),
    "axial": replace(PLAIN, encoder=replace(ENCODER, positions="axial"), decoder=replace(DECODER, positions="axial")),
    "one axial": replace(PLAIN, decoder=replace(DECODER, positions="axial")),
    "wide table": replace(
        PLAIN, image_size=(24, 16), encoder=replace(ENCODER, grid=(6, 4)), decoder=replace(DECODER, grid=(6, 4))
    ),
    "time": replace(PLAIN, decoder=replace(DECODER, max_timestep=1000.0)),
    "levels": replace(
        PLAIN,
        quantizer=FSQConfig((7, 6, 5, 4)),
        encoder=replace(ENCODER, slot_dim=4),
        decoder=replace(DECODER, token_dim=4),
    ),
    "registers": replace(
        PLAIN,
        encoder=replace(ENCODER, num_registers=12),
        decoder=replace(DECODER, num_tokens=12),
        lengths=UniformChoiceConfig(tuple(range(1, 13))),
    ),
    "zero null": replace(PLAIN, decoder=replace(DECODER, zero_null=True, null_probability=0.0)),
    "times": replace(PLAIN, decoder=replace(DECODER, timesteps=LogitNormalConfig())),
    "uniform times": replace(PLAIN, decoder=replace(DECODER, timesteps=UniformConfig())),
    "mode": replace(PLAIN, decoder=replace(DECODER, timesteps=ModeConfig(1.29))),
    "autoencoder": replace(
        PLAIN,
        image_size=(32, 32),
        space=AutoencoderKLConfig(
            6, (8, 8, 16), 2, norm_num_groups=8, scaling_factor=1.3, mid_block_add_attention=False, use_quant_conv=False
        ),
        encoder=replace(ENCODER, channels=6),
        decoder=replace(DECODER, channels=6),
    ),
}

# tables that are larger than the images need: the format keeps no size of images, and says the tables' instead
CORNERS = {
    "corner": replace(PLAIN, encoder=replace(ENCODER, grid=(8, 8)), decoder=replace(DECODER, grid=(6, 6))),
    "corner of axes": replace(
        PLAIN,
        image_size=(24, 16),
        encoder=replace(ENCODER, grid=(6, 6), positions="axial"),
        decoder=replace(DECODER, grid=(8, 8), positions="axial"),
    ),
}


def drawn(seed: int) -> TokenizerConfig:
    """One of many: everything at once, at random."""
    r = Random(seed)
    channels, levels, registers = r.choice([4, 8, 16]), r.choices(range(2, 10), k=r.randint(1, 7)), r.randint(4, 31)
    latents = r.choice([4, 8, 12]), r.choice([4, 8, 12])
    widths = tuple(r.choice([8, 16, 32]) for _ in range(r.randint(1, 3)))

    def part() -> dict[str, Any]:
        patch_size, head_dim, positions = r.choice([1, 2, 4]), r.choice([16, 32, 64]), r.choice(["sincos", "axial"])
        grid = tuple(side // patch_size + r.choice([0, 0, 1, 3]) for side in latents)
        return {
            "channels": channels,
            "patch_size": patch_size,
            "width": head_dim * r.choice([1, 2, 3]),
            "head_dim": head_dim,
            "depth": r.randint(1, 3),
            "grid": (max(grid),) * 2 if positions == "axial" else grid,
            "positions": positions,
        }

    return TokenizerConfig(
        (latents[0] * 2 ** (len(widths) - 1), latents[1] * 2 ** (len(widths) - 1)),
        AutoencoderKLConfig(
            channels,
            widths,
            r.randint(1, 3),
            norm_num_groups=r.choice([2, 4, 8]),
            scaling_factor=r.choice([0.18215, 0.7, 1.3]),
            mid_block_add_attention=r.random() < 0.7,
            use_quant_conv=r.random() < 0.7,
            use_post_quant_conv=r.random() < 0.7,
        ),
        RegisterViTConfig(num_registers=registers, slot_dim=len(levels), **part()),
        FSQConfig(tuple(levels)),
        UniformChoiceConfig(tuple(range(1, registers + 1))),
        FlowDecoderConfig(
            num_tokens=registers,
            token_dim=len(levels),
            max_timestep=r.choice([1.0, 7.0, 1000.0]),
            zero_null=r.random() < 0.4,
            feature_block=1,
            **part(),
        ),
    )
