"""Colour shifts of images whose colours are known."""

import colorsys

import pytest
import torch

from openflextok.evaluate.colours import channel_shift, saturation, saturation_shift


def flat(red: int, green: int, blue: int) -> torch.Tensor:
    """One image (1,3,4,5) of one colour, 0..255."""
    return (torch.tensor([red, green, blue]).float() / 127.5 - 1).view(1, 3, 1, 1).expand(1, 3, 4, 5)


def test_channels_keep_their_sign():
    shift = channel_shift(flat(100, 50, 200), flat(110, 50, 195))
    torch.testing.assert_close(shift, torch.tensor([[10.0, 0.0, -5.0]], dtype=torch.float64), rtol=0, atol=1e-4)


@pytest.mark.parametrize("colour", [(200, 100, 50), (255, 0, 0), (7, 7, 7), (0, 0, 0), (255, 255, 255)])
def test_saturation_is_that_of_hsv(colour):
    expected = colorsys.rgb_to_hsv(*(level / 255 for level in colour))[1]
    assert saturation(flat(*colour)).item() == pytest.approx(expected, abs=1e-5)


def test_paler_rebuildings_have_a_negative_shift():
    assert saturation_shift(flat(200, 100, 100), flat(200, 150, 150)).item() == pytest.approx(-0.25, abs=1e-5)
