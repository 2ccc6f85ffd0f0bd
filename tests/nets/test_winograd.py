"""Winograd's convolutions: the algebra exactly, float32 against float64, and where they run."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from openflextok.config import AutoencoderKLConfig
from openflextok.nets.winograd import FILTER_63, INPUT_66, OUTPUT_46, Conv3x3, winograd
from openflextok.spaces.autoencoder_kl import AutoencoderKL


def case(inputs: int, outputs: int, height: int, width: int, batch: int = 2) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(outputs, inputs, 3, 3, generator=generator) / (9 * inputs) ** 0.5
    return torch.randn(batch, inputs, height, width, generator=generator), weight, torch.randn(outputs)


def test_the_transforms_are_exact():
    """y = A^T[(G g) * (B^T d)] for every column of 6 inputs and 3 weights (arXiv 1509.09308, eq. 5)."""
    to_input, to_filter, to_output = (torch.tensor(m, dtype=torch.float64) for m in (INPUT_66, FILTER_63, OUTPUT_46))
    d, g = torch.randn(6, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    expected = torch.stack([(d[i : i + 3] * g).sum() for i in range(4)])
    torch.testing.assert_close(to_output @ ((to_filter @ g) * (to_input @ d)), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", [(3, 5, 4, 4), (7, 4, 8, 20), (16, 24, 64, 4), (8, 8, 12, 516), (130, 128, 40, 32)])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_equals_the_convolution_in_float64(shape, memory):
    x, weight, bias = case(*shape)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    found = winograd(x.contiguous(memory_format=memory), weight, bias)
    assert found.dtype == torch.float32 and found.is_contiguous(memory_format=torch.channels_last)
    error = (found - expected).square().mean().sqrt() / expected.square().mean().sqrt()
    assert float(error) < 5e-6


def layer(inputs: int = 128, outputs: int = 128) -> Conv3x3:
    torch.manual_seed(0)
    return Conv3x3(inputs, outputs)


def test_names_and_start_are_those_of_a_plain_convolution():
    found = layer(4, 6)
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(4, 6, 3, padding=1)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in found.state_dict().items())
    x = torch.randn(2, 4, 9, 5)
    assert torch.equal(found(x), plain(x))


def test_where_it_runs():
    x = torch.randn(1, 128, 32, 32)
    assert not layer().gains(x)  # a gradient is wanted
    with torch.no_grad():
        assert layer().gains(x)
        assert not layer(127, 128).gains(x[:, 1:]) and not layer(128, 127).gains(x)
        assert not layer().gains(x[..., :28]) and not layer().gains(torch.randn(1, 128, 34, 32))
        assert not layer().bfloat16().gains(x.bfloat16()) and not layer().double().gains(x.double())
        assert not layer().gains(x.to("meta"))
        with torch.autocast("cpu", torch.bfloat16):
            assert not layer().gains(x)
            assert layer()(x).dtype == torch.bfloat16


def test_an_image_does_not_depend_on_its_batch():
    x = torch.randn(3, 128, 32, 36)
    with torch.no_grad():
        whole = layer()(x)
        assert all(torch.equal(whole[i : i + 1], layer()(x[i : i + 1])) for i in range(3))


def test_gradients_flow_as_before():
    x = torch.randn(1, 128, 32, 32, requires_grad=True)
    conv = layer()
    conv(x).square().sum().backward()
    expected = torch.autograd.grad(F.conv2d(x, conv.weight, conv.bias, padding=1).square().sum(), x)[0]
    assert x.grad is not None
    torch.testing.assert_close(x.grad, expected)


def test_a_wide_autoencoder_gives_the_same_both_ways(monkeypatch):
    torch.manual_seed(0)
    config = AutoencoderKLConfig(block_out_channels=(128, 128), layers_per_block=1, latent_channels=4)
    space, images = AutoencoderKL(config).eval(), torch.rand(2, 3, 64, 64) * 2 - 1
    calls = []
    right = Conv3x3.gains
    monkeypatch.setattr(Conv3x3, "gains", lambda self, x: calls.append(right(self, x)) or calls[-1])
    with torch.inference_mode():
        latents = space.encode(images)
        pictures = space.decode(latents)
        assert sum(calls) >= 12
        monkeypatch.setattr(Conv3x3, "gains", lambda self, x: False)
        for found, expected in ((latents, space.encode(images)), (pictures, space.decode(latents))):
            assert float((found - expected).norm() / expected.norm()) < 1e-5
