"""KL autoencoders (arXiv 2112.10752): latent spaces trained on own images."""

from __future__ import annotations

from openflextok.config import AutoencoderKLConfig
from openflextok.train.settings import AutoencoderRecipe, DataConfig, OptimConfig, TrainConfig

MINI_SPACE = AutoencoderKLConfig(
    latent_channels=8, block_out_channels=(32, 64, 128, 128), layers_per_block=1, norm_num_groups=16
)


def kl_f8_mini() -> AutoencoderRecipe:
    """The latent space of the embedded checkpoint: f8, 8 channels, 3.9 M parameters; L1 + LPIPS (AlexNet) + KL.

    openflextok train kl-f8-mini --data FOLDER --out runs/kl-f8-mini
    Cost: crops of 64 px, about half an hour on 2 CPU cores with bf16 matrix units. Result: see docs/log.md.
    """
    optim = OptimConfig(learning_rate=1e-3, betas=(0.9, 0.99), weight_decay=0.0, warmup_steps=100, ema_decay=0.998)
    train = TrainConfig(steps=4000, batch_size=16, optim=optim, save_every=250, preview_every=250, log_every=10)
    data = DataConfig(image_size=(64, 64), crop_scale=(0.4, 0.8), workers=1)
    return AutoencoderRecipe("kl-f8-mini", MINI_SPACE, data, train, perceptual_weight=0.5, kl_weight=1e-4)


def kl_f8() -> AutoencoderRecipe:
    """A full-size f8 autoencoder with 16 channels (83.8 M parameters), with a patch critic from step 10,000.

    openflextok train kl-f8 --data FOLDER --out runs/kl-f8
    Cost: 3.2 M crops of 256 px, a GPU; not run by us. Expected: not measured by us.
    """
    optim = OptimConfig(learning_rate=1e-4, betas=(0.5, 0.9), weight_decay=0.0, warmup_steps=1000, ema_decay=0.9995)
    train = TrainConfig(
        steps=100_000, batch_size=32, micro_batch_size=8, optim=optim, save_every=1000, preview_every=1000
    )
    return AutoencoderRecipe(
        "kl-f8",
        AutoencoderKLConfig(latent_channels=16),
        DataConfig(image_size=(256, 256), workers=8),
        train,
        perceptual="vgg",
        kl_weight=1e-4,
        adversarial_weight=0.1,
        adversarial_start=10_000,
    )
