"""The pixel decoder: absent tokens, batches, positions, and its training target."""

import pytest
import torch
import torch.nn.functional as F

from openflextok.config import PixelDecoderConfig
from openflextok.nets.pixel_decoder import PixelDecoder
from openflextok.types import Draws, Tokens

SHAPE = (3, 4, 32, 2, (4, 4), 8, 5, 16)


@pytest.fixture(params=["mask", "remove"])
def decoder(request, randomise) -> PixelDecoder:
    return randomise(PixelDecoder(PixelDecoderConfig(*SHAPE, absence=request.param)))


def tokens(lengths: list[int], seed: int = 0) -> Tokens:
    values = torch.randn(len(lengths), 8, 5, generator=torch.Generator().manual_seed(seed))
    return Tokens(values, None, torch.arange(8)[None] < torch.tensor(lengths)[:, None])


def rebuilt(decoder: PixelDecoder, batch: Tokens) -> torch.Tensor:
    return decoder.decode(batch, noise_BCHW=torch.zeros(len(batch), 3, 16, 16))


def test_training_and_decoding_rebuild_the_same_from_ragged_lengths(decoder):
    batch, latents = tokens([1, 3, 8, 3]), torch.randn(4, 3, 16, 16)
    losses = decoder.losses(batch, latents, Draws([0] * 4))
    torch.testing.assert_close(losses.rebuilt_BCHW, rebuilt(decoder, batch), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses.terms["l2"], F.mse_loss(losses.rebuilt_BCHW, latents))


def test_an_image_does_not_depend_on_its_batch(decoder):
    batch = tokens([1, 3, 8])
    alone = [rebuilt(decoder, Tokens(batch.values_BND[i : i + 1], None, batch.keep_BN[i : i + 1])) for i in range(3)]
    torch.testing.assert_close(rebuilt(decoder, batch), torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_absent_tokens_say_nothing_and_kept_ones_do(decoder):
    batch = tokens([4])
    changed = batch.values_BND.clone()
    changed[:, 4:] += 1
    assert torch.equal(rebuilt(decoder, batch), rebuilt(decoder, Tokens(changed, None, batch.keep_BN)))
    changed[:, 3] += 1
    assert not torch.allclose(rebuilt(decoder, batch), rebuilt(decoder, Tokens(changed, None, batch.keep_BN)))


def test_the_order_of_tokens_and_the_place_of_patches_matter(decoder):
    batch = tokens([8])
    flipped = Tokens(batch.values_BND.flip(1), None, batch.keep_BN)
    assert not torch.allclose(rebuilt(decoder, batch), rebuilt(decoder, flipped), atol=1e-3)
    patches = rebuilt(decoder, batch).unfold(2, 4, 4).unfold(3, 4, 4)
    assert not torch.allclose(patches[0, :, 0, 0], patches[0, :, 0, 1], atol=1e-3)


def test_the_start_of_the_noise_is_not_looked_at(decoder):
    batch = tokens([8, 2])
    noise = torch.randn(2, 3, 16, 16)
    assert torch.equal(decoder.decode(batch, noise_BCHW=noise), rebuilt(decoder, batch))


def test_options_of_a_flow_are_refused(decoder):
    with pytest.raises(TypeError, match=r"\['guidance', 'steps'\]"):
        decoder.decode(tokens([8]), noise_BCHW=torch.zeros(1, 3, 16, 16), steps=3, guidance=None)
