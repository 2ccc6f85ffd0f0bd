"""Whole tokenizers of other parts: sizes they take, tokens without ids, learned codebooks on disk."""

import dataclasses

import pytest
import torch

from openflextok.checkpoint import load, save
from openflextok.config import (
    ConfigError,
    ContinuousConfig,
    FullConfig,
    GridViTConfig,
    LFQConfig,
    PixelDecoderConfig,
    QuantizerConfig,
    TokenizerConfig,
    VQConfig,
)
from openflextok.convert.official_flextok.config import write_config
from openflextok.tokenizer import Tokenizer

PIXEL_DECODER = PixelDecoderConfig(3, 4, 32, 2, (4, 4), 8, head_dim=16)
GRID = GridViTConfig(3, 2, 32, 2, (4, 8), merge=2, head_dim=16)


def with_quantizer(config: TokenizerConfig, quantizer: QuantizerConfig) -> TokenizerConfig:
    encoder = dataclasses.replace(config.encoder, slot_dim=quantizer.dim)
    decoder = dataclasses.replace(config.decoder, token_dim=quantizer.dim)
    return dataclasses.replace(config, encoder=encoder, quantizer=quantizer, decoder=decoder)


def test_a_2d_tokenizer_takes_its_own_size_alone(make_config, randomise):
    config = make_config()
    decoder = dataclasses.replace(config.decoder, patch_size=2, grid=(4, 8))
    config = dataclasses.replace(config, encoder=GRID, lengths=FullConfig(), decoder=decoder, image_size=(8, 16))
    tokenizer = randomise(Tokenizer(config))
    tokens = tokenizer.encode(torch.zeros(2, 3, 8, 16))
    assert tokenizer.decode(tokens, steps=1).shape == (2, 3, 8, 16) and tokens.ids.shape == (2, 8)
    with pytest.raises(ValueError, match="cannot take 8x8 images: height and width must be 8x16"):
        tokenizer.encode(torch.zeros(2, 3, 8, 8))


def test_continuous_tokens_travel_as_values(make_config, randomise, images, tmp_path):
    tokenizer = randomise(Tokenizer(with_quantizer(make_config(), ContinuousConfig(5))))
    save(tokenizer, tmp_path / "saved")
    tokenizer = load(tmp_path / "saved")
    tokens = tokenizer.encode(images)
    assert torch.isfinite(tokenizer.decode(tokens.truncate(3), steps=2)).all()
    assert tokenizer.bytes_per_image(3) is None
    with pytest.raises(ValueError, match="continuous and have no ids"):
        _ = tokens.ids
    with pytest.raises(ValueError, match="continuous and have no ids: give the `Tokens`"):
        tokenizer.decode(torch.zeros(1, 4, dtype=torch.int64))


def test_a_codebook_is_saved_and_is_part_of_the_fingerprint(make_config, randomise, images, tmp_path):
    tokenizer = randomise(Tokenizer(with_quantizer(make_config(), VQConfig(50, 6))))
    save(tokenizer, tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert torch.equal(again.encode(images).ids, tokenizer.encode(images).ids)
    assert again.fingerprint() == tokenizer.fingerprint()
    other_training = dataclasses.replace(tokenizer.config.quantizer, decay=0.5, commitment_weight=1.0)
    tokenizer.config = dataclasses.replace(tokenizer.config, quantizer=other_training)
    assert again.fingerprint() == tokenizer.fingerprint()
    tokenizer.quantizer.codebook_KD[0].neg_()
    assert again.fingerprint() != tokenizer.fingerprint()


def test_a_pixel_decoder_decodes_prefixes_in_one_pass(make_config, randomise, images):
    config = dataclasses.replace(make_config(), decoder=PIXEL_DECODER)
    tokenizer = randomise(Tokenizer(config))
    tokens = tokenizer.encode(images)
    first = tokenizer.decode(tokens, lengths=[1, 2, 3, 4, 8])
    assert torch.equal(first, tokenizer.decode(tokens, lengths=[1, 2, 3, 4, 8], seed=7))
    torch.testing.assert_close(first[1:2], tokenizer.decode(tokens.ids[1:2, :2]), rtol=1e-4, atol=1e-5)
    with pytest.raises(TypeError, match="unknown decode options"):
        tokenizer.decode(tokens, steps=3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: with_quantizer(c, LFQConfig(6)), "has a FSQ as its quantizer; this tokenizer: LFQ"),
        (lambda c: dataclasses.replace(c, encoder=dataclasses.replace(c.encoder, causal=False)), "causal registers"),
        (
            lambda c: dataclasses.replace(c, decoder=PixelDecoderConfig(4, 2, 32, 2, (4, 4), 8, head_dim=16)),
            "has a FlowDecoder as its decoder; this tokenizer: PixelDecoder",
        ),
    ],
)
def test_the_official_format_refuses_what_it_does_not_have(change, message, make_config):
    with pytest.raises(ConfigError, match=message):
        write_config(change(make_config("kl")))


def test_parts_must_fit(make_config):
    with pytest.raises(ConfigError, match="encoder slot_dim 6 != the 16 dimensions of the LFQ quantizer"):
        dataclasses.replace(make_config(), quantizer=LFQConfig(16))
    with pytest.raises(ConfigError, match="32 encoder slots but 8 decoder tokens"):
        dataclasses.replace(make_config(), encoder=dataclasses.replace(GRID, merge=1), image_size=(8, 16))
