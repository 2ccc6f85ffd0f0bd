"""The smallest recipe that visibly works."""

from __future__ import annotations

from openflextok.config import (
    FlowDecoderConfig,
    FSQConfig,
    LogitNormalConfig,
    PixelsConfig,
    RegisterViTConfig,
    TokenizerConfig,
    UniformChoiceConfig,
)
from openflextok.lengths import power_lengths
from openflextok.train.settings import DataConfig, OptimConfig, TokenizerRecipe, TrainConfig


def toy() -> TokenizerRecipe:
    """A FlexTok on 32 px pixels with 16 tokens, 2 + 3 blocks of width 128.

    openflextok train toy --data FOLDER --out runs/toy
    Cost: 28,800 crops, a minute and a half on 2 CPU cores. Result: the colours and the rough layout of a photo, in
    visible patches, nearer with more tokens: 12.3, 13.1 and 13.4 dB from 1, 4 and 16 (docs/log.md).
    """
    tokenizer = TokenizerConfig(
        image_size=(32, 32),
        space=PixelsConfig(scale=2.0),
        encoder=RegisterViTConfig(3, 4, 128, 2, (8, 8), 16),
        quantizer=FSQConfig(saturation_weight=0.01),
        lengths=UniformChoiceConfig(power_lengths(16)),
        decoder=FlowDecoderConfig(
            3, 4, 128, 3, (8, 8), 16, timesteps=LogitNormalConfig(1.5, 1.3), absence="remove", guidance="cfg:1.5"
        ),
    )
    optim = OptimConfig(learning_rate=3e-3, base_width=128, warmup_steps=50, ema_decay=0.99)
    train = TrainConfig(
        steps=450, batch_size=64, attention="math", optim=optim, save_every=150, preview_every=150, log_every=10
    )
    return TokenizerRecipe("toy", tokenizer, DataConfig(image_size=(32, 32), workers=0, cache=True), train)
