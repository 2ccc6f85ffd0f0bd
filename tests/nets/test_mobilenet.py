"""MobileNetV2's size, maps and borders; its numbers are compared in tests/convert."""

import pytest
import torch

from openflextok.nets.mobilenet import FEATURES, WIDTHS, MobileNetV2


def test_it_has_the_published_size():
    # torchvision: 3,504,872, less the classifier (1,281,000) and one of two norm vectors over 17,056 channels
    model = MobileNetV2()
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_504_872 - 1_281_000 - 17_056
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_maps_and_features():
    model = MobileNetV2()
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for stride, width in WIDTHS.items():
        assert model.spatial(images, stride).shape == (2, width, 64 // stride, 96 // stride)
    features = model(images)
    assert features.shape == (2, FEATURES)
    torch.testing.assert_close(features, model.spatial(images, 32).mean((2, 3)))
    torch.testing.assert_close(model(images[1:]), features[1:])


def test_bad_input_is_refused():
    model = MobileNetV2()
    with pytest.raises(ValueError, match=r"stride 4: choose one of \[8, 16, 32\]"):
        model.spatial(torch.zeros(1, 3, 32, 32), stride=4)
    with pytest.raises(ValueError, match="H and W >= 32"):
        model(torch.zeros(1, 3, 31, 32))
