"""FlexTok's relatives, of the same parts: each takes a FlexTok and changes what makes the difference.

The number of tokens, the codebook of 64,000 codes, widths, depths, data and schedule stay those of the FlexTok given,
unless the difference lies there; `flextok-one-gpu` where none is given.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from openflextok.config import (
    ContinuousConfig,
    FlowDecoderConfig,
    FullConfig,
    GridViTConfig,
    LFQConfig,
    LogitNormalConfig,
    PixelDecoderConfig,
    PixelsConfig,
    QuantizerConfig,
    RegisterViTConfig,
    TokenizerConfig,
    UniformChoiceConfig,
    VQConfig,
)
from openflextok.lengths import power_lengths
from openflextok.recipes.flextok import FSQ_64K, one_gpu
from openflextok.train.settings import (
    DataConfig,
    ImageLossesConfig,
    MobileNetTeacherConfig,
    OptimConfig,
    RepaConfig,
    TokenizerRecipe,
    TrainConfig,
)

PERCEPTUAL = ImageLossesConfig("alex", 0.5)
PERCEPTUAL_AND_CRITIC = ImageLossesConfig("vgg", 1.0, adversarial_weight=0.1, adversarial_start=20_000)


def flextok_32px() -> TokenizerRecipe:
    """The FlexTok of the small comparison: 32 px pixels, 16 tokens, 2 + 3 blocks of width 128.

    openflextok train flextok-32px --data builtin:cifar10 --out runs/flextok
    Cost: 51,200 crops, a few minutes on 2 CPU cores. Result: docs/comparison.md.
    """
    tokenizer = TokenizerConfig(
        image_size=(32, 32),
        space=PixelsConfig(scale=2.0),
        encoder=RegisterViTConfig(3, 4, 128, 2, (8, 8), 16),
        quantizer=replace(FSQ_64K, saturation_weight=0.01),
        lengths=UniformChoiceConfig(power_lengths(16)),
        decoder=FlowDecoderConfig(
            3, 4, 128, 3, (8, 8), 16, timesteps=LogitNormalConfig(1.5, 1.3), absence="remove", guidance="cfg:1.5"
        ),
    )
    optim = OptimConfig(learning_rate=3e-3, base_width=128, warmup_steps=50, ema_decay=0.99)
    train = TrainConfig(
        steps=800, batch_size=64, attention="math", optim=optim, save_every=200, preview_every=800, log_every=10
    )
    return TokenizerRecipe("flextok-32px", tokenizer, DataConfig((32, 32), workers=0, cache=True), train)


def _changed(base: TokenizerRecipe, name: str, **parts: Any) -> TokenizerRecipe:
    return replace(base, name=name, tokenizer=replace(base.tokenizer, **parts))


def _quantized(base: TokenizerRecipe, name: str, quantizer: QuantizerConfig, **parts: Any) -> TokenizerRecipe:
    """With another quantizer, and encoder and decoder of its dimensions."""
    encoder = replace(base.tokenizer.encoder, slot_dim=quantizer.dim)
    decoder = replace(base.tokenizer.decoder, token_dim=quantizer.dim)
    return _changed(base, name, quantizer=quantizer, encoder=encoder, decoder=decoder, **parts)


def _pixel_decoder(base: TokenizerRecipe) -> PixelDecoderConfig:
    """A pixel decoder of the same size."""
    d = base.tokenizer.decoder
    return PixelDecoderConfig(
        d.channels, d.patch_size, d.width, d.depth, d.grid, d.num_tokens, d.token_dim, d.head_dim, absence=d.absence
    )


def _bidirectional(base: TokenizerRecipe) -> RegisterViTConfig:
    encoder = base.tokenizer.encoder
    assert isinstance(encoder, RegisterViTConfig)
    return replace(encoder, causal=False)


def _every_length(base: TokenizerRecipe) -> UniformChoiceConfig:
    return UniformChoiceConfig(tuple(range(1, base.tokenizer.decoder.num_tokens + 1)))


# -- other families -------------------------------------------------------------------------------------------------


def titok(
    base: TokenizerRecipe | None = None, image_losses: ImageLossesConfig = PERCEPTUAL_AND_CRITIC
) -> TokenizerRecipe:
    """TiTok (arXiv 2406.07550) in a single stage: a fixed number of 1D tokens, rebuilt in one pass.

    openflextok train titok --data FOLDER --out runs/titok --set space_weights=FOLDER
    Cost: 25.6 M images; not run by us at this size. Expected: not measured; docs/comparison.md has a small one.
    """
    base = base or one_gpu()
    made = _changed(base, "titok", encoder=_bidirectional(base), lengths=FullConfig(), decoder=_pixel_decoder(base))
    return replace(made, repa=None, image_losses=image_losses)


def one_d_piece(
    base: TokenizerRecipe | None = None, image_losses: ImageLossesConfig = PERCEPTUAL_AND_CRITIC
) -> TokenizerRecipe:
    """One-D-Piece (arXiv 2501.10064): TiTok with tail token drop, so that any prefix can be rebuilt.

    openflextok train one-d-piece --data FOLDER --out runs/one-d-piece --set space_weights=FOLDER
    Cost: 25.6 M images; not run by us at this size. Expected: not measured; docs/comparison.md has a small one.
    """
    made = titok(base, image_losses)
    return _changed(made, "one-d-piece", lengths=_every_length(made))


def grid2d(base: TokenizerRecipe | None = None) -> TokenizerRecipe:
    """A 2D tokenizer: squares of patches instead of registers, always all of them; FlexTok's quantizer and decoder.

    openflextok train grid2d --data FOLDER --out runs/grid2d --set space_weights=FOLDER
    Cost: 25.6 M images; not run by us at this size. Expected: not measured; docs/comparison.md has a small one.
    """
    base = base or one_gpu()
    e, side = base.tokenizer.encoder, round(base.tokenizer.decoder.num_tokens**0.5)
    encoder = GridViTConfig(
        e.channels, e.patch_size, e.width, e.depth, e.grid, e.grid[0] // side, e.slot_dim, e.head_dim, e.positions
    )
    return _changed(base, "grid2d", encoder=encoder, lengths=FullConfig())


def semanticist(base: TokenizerRecipe | None = None) -> TokenizerRecipe:
    """Semanticist (arXiv 2503.08685): continuous ordered tokens of 16 dimensions, any length.

    openflextok train semanticist --data FOLDER --out runs/semanticist --set space_weights=FOLDER
    Cost: 25.6 M images; not run by us at this size. Expected: not measured; docs/comparison.md has a small one.
    """
    base = base or one_gpu()
    return _quantized(base, "semanticist", ContinuousConfig(16), lengths=_every_length(base))


# -- one part of FlexTok changed ------------------------------------------------------------------------------------


def flextok_vq(base: TokenizerRecipe | None = None) -> TokenizerRecipe:
    """FlexTok with a learned codebook of 64,000 unit vectors.

    openflextok train flextok-vq --data FOLDER --out runs/flextok-vq --set space_weights=FOLDER
    Cost: 25.6 M images; not run by us at this size. Expected: not measured; docs/comparison.md has a small one.
    """
    return _quantized(base or one_gpu(), "flextok-vq", VQConfig(64_000))


def flextok_lfq16(base: TokenizerRecipe | None = None) -> TokenizerRecipe:
    """FlexTok with 16 binary dimensions: 16 bits a token against the 15.97 of 64,000 codes.

    openflextok train flextok-lfq16 --data FOLDER --out runs/flextok-lfq16 --set space_weights=FOLDER
    Cost: 25.6 M images; not run by us at this size. Expected: not measured; docs/comparison.md has a small one.
    """
    return _quantized(base or one_gpu(), "flextok-lfq16", LFQConfig(16))


def flextok_uniform(base: TokenizerRecipe | None = None) -> TokenizerRecipe:
    """FlexTok that learns all lengths 1, 2, 3, ..., N alike, instead of powers of two.

    openflextok train flextok-uniform --data FOLDER --out runs/flextok-uniform --set space_weights=FOLDER
    Cost: 25.6 M images; not run by us at this size. Expected: not measured; docs/comparison.md has a small one.
    """
    base = base or one_gpu()
    return _changed(base, "flextok-uniform", lengths=_every_length(base))


def flextok_fixed(base: TokenizerRecipe | None = None) -> TokenizerRecipe:
    """FlexTok without nested dropout: every token always, no order.

    openflextok train flextok-fixed --data FOLDER --out runs/flextok-fixed --set space_weights=FOLDER
    Cost: 25.6 M images; not run by us at this size. Expected: not measured; docs/comparison.md has a small one.
    """
    return _changed(base or one_gpu(), "flextok-fixed", lengths=FullConfig())


def flextok_bidirectional(base: TokenizerRecipe | None = None) -> TokenizerRecipe:
    """FlexTok whose registers all see each other and the patches see them.

    openflextok train flextok-bidirectional --data FOLDER --out runs/flextok-bidirectional --set space_weights=FOLDER
    Cost: 25.6 M images; not run by us at this size. Expected: not measured; docs/comparison.md has a small one.
    """
    base = base or one_gpu()
    return _changed(base, "flextok-bidirectional", encoder=_bidirectional(base))


def flextok_repa(base: TokenizerRecipe | None = None) -> TokenizerRecipe:
    """FlexTok aligned with MobileNetV2 features, the teacher that every machine can fetch.

    openflextok train flextok-repa --data FOLDER --out runs/flextok-repa --set space_weights=FOLDER
    Cost: 25.6 M images; not run by us at this size. Expected: not measured; docs/comparison.md has a small one.
    """
    repa = RepaConfig(MobileNetTeacherConfig(8), weight=0.5, hidden=512)
    return replace(base or one_gpu(), name="flextok-repa", repa=repa)


def flextok_no_repa(base: TokenizerRecipe | None = None) -> TokenizerRecipe:
    """FlexTok without an alignment term.

    openflextok train flextok-no-repa --data FOLDER --out runs/flextok-no-repa --set space_weights=FOLDER
    Cost: 25.6 M images; not run by us at this size. Expected: not measured; docs/comparison.md has a small one.
    """
    return replace(base or one_gpu(), name="flextok-no-repa", repa=None)
