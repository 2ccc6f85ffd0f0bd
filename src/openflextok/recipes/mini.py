"""The embedded checkpoint: small enough to ship, trained on freely licensed photos and drawings."""

from __future__ import annotations

from dataclasses import replace

from openflextok.config import LogitNormalConfig
from openflextok.recipes.autoencoders import MINI_SPACE
from openflextok.recipes.flextok import flextok
from openflextok.train.settings import DataConfig, OptimConfig, TokenizerRecipe, TrainConfig


def flextok_mini() -> TokenizerRecipe:
    """FlexTok d4-d5 at 128 px with 64 tokens over the `kl-f8-mini` latents: 15.5 M + 3.9 M parameters.

    openflextok train flextok-mini --data FOLDER --out runs/mini --set space_weights=runs/kl-f8-mini/model
    Cost: 192,000 crops, about 75 minutes on 2 CPU cores with bf16 matrix units. Result: the embedded checkpoint's model card.
    """
    tokenizer = flextok(4, 5, image_size=128, num_tokens=64, space=MINI_SPACE)
    decoder = replace(
        tokenizer.decoder,
        absence="remove",
        guidance="cfg:1.5",
        null_probability=0.1,
        timesteps=LogitNormalConfig(1.2, 1.4),  # near noise, tokens matter most: a short training learns to use them
    )
    quantizer = replace(tokenizer.quantizer, saturation_weight=0.01)
    tokenizer = replace(tokenizer, quantizer=quantizer, decoder=decoder)
    optim = OptimConfig(learning_rate=2e-3, base_width=256, warmup_steps=200, ema_decay=0.999)
    train = TrainConfig(
        steps=3000, batch_size=64, attention="math", optim=optim, save_every=100, preview_every=200, log_every=10
    )
    data = DataConfig(image_size=(128, 128), crop_scale=(0.8, 1.0), workers=0, cache=True)
    return TokenizerRecipe("flextok-mini", tokenizer, data, train, space_weights="runs/kl-f8-mini/model")
