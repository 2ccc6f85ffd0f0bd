"""LPIPS against its definition, location by location, with random weights."""

import pytest
import torch

from openflextok.nets.lpips import BACKBONES, LPIPS


def random_lpips(net: str = "alex") -> LPIPS:
    torch.manual_seed(0)
    model = LPIPS(net)
    for head in model.heads:
        head.copy_(torch.rand_like(head))
    return model


def images(batch: int = 2, side: int = 40, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_forward_is_the_definition():
    model, a, b = random_lpips(), images(seed=1), images(seed=2)
    expected = torch.zeros(2)
    for fa, fb, head in zip(model.features(a), model.features(b), model.heads, strict=True):
        for n in range(2):
            places = [(i, j) for i in range(fa.shape[2]) for j in range(fa.shape[3])]
            for i, j in places:
                ua, ub = (f[n, :, i, j] / (f[n, :, i, j].square().sum().sqrt() + 1e-10) for f in (fa, fb))
                expected[n] += (head.flatten() * (ua - ub) ** 2).sum() / len(places)
    torch.testing.assert_close(model(a, b), expected, rtol=1e-4, atol=1e-6)


def test_it_is_symmetric_zero_for_equal_images_and_per_sample():
    model, a, b = random_lpips(), images(seed=1), images(seed=2)
    assert torch.equal(model(a, a), torch.zeros(2))
    torch.testing.assert_close(model(a, b), model(b, a))
    torch.testing.assert_close(model(a[1:], b[1:]), model(a, b)[1:])


@pytest.mark.parametrize(
    ("net", "shapes"),
    [
        ("alex", [(64, 15), (192, 7), (384, 3), (256, 3), (256, 3)]),
        ("vgg", [(64, 64), (128, 32), (256, 16), (512, 8), (512, 4)]),
    ],
)
def test_features_have_the_published_shapes(net, shapes):
    features = LPIPS(net).features(images(1, 64))
    assert [tuple(feature.shape) for feature in features] == [(1, width, side, side) for width, side in shapes]


def test_weights_are_frozen_and_gradients_reach_the_images_even_where_features_vanish():
    model = random_lpips()
    assert not any(parameter.requires_grad for parameter in model.parameters())
    for layer in model.stages.modules():
        if isinstance(layer, torch.nn.Conv2d):
            assert layer.bias is not None
            layer.bias.fill_(-10)  # all features are 0: the norm has no gradient of its own there
    a = images().requires_grad_()
    model(a, images(seed=3)).sum().backward()
    assert a.grad is not None
    assert bool(a.grad.isfinite().all())
    model, a = random_lpips(), images().requires_grad_()
    model(a, images(seed=3)).sum().backward()
    assert a.grad is not None
    assert a.grad.abs().amax() > 0


@pytest.mark.parametrize("net", sorted(BACKBONES))
def test_smallest_side_is_exact(net):
    model, side = LPIPS(net), BACKBONES[net].smallest_side
    assert model(images(1, side), images(1, side)).item() == 0
    with pytest.raises(ValueError, match=f"H and W >= {side}"):
        model.features(images(1, side - 1))
    with pytest.raises(RuntimeError):
        torch.nn.Sequential(*model.stages)(images(1, side - 1))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="choose one of"):
        LPIPS("squeeze")
    with pytest.raises(ValueError, match="make them equal"):
        random_lpips()(images(1), images(2))
