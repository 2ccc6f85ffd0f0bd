"""InceptionV3's size and its resizing; its numbers are compared in tests/convert."""

import pytest
import torch
from torch import nn

from openflextok.nets.inception import FEATURES, InceptionV3, resize_like_tensorflow


def test_it_has_the_published_size():
    # torchvision's InceptionV3: 27,161,264 with the classifier (2048 x 1000 + 1000) and the auxiliary one (3,326,696);
    # of norms it has a gain and a bias for each of 17,184 channels, this one only the bias
    with torch.device("meta"):
        model = InceptionV3()
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 94
    channels = sum(module.out_channels for module in convolutions)
    assert sum(parameter.numel() for parameter in model.parameters()) == 27_161_264 - 2_049_000 - 3_326_696 - channels


def test_features_do_not_depend_on_the_batch():
    with torch.device("meta"):
        model = InceptionV3().eval()
    model.to_empty(device="cpu")
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.uniform_(-0.05, 0.06)
    images = torch.rand(2, 3, 20, 24) * 2 - 1
    with torch.inference_mode():
        features = model(images)
        assert features.shape == (2, FEATURES) and features.std() > 0
        torch.testing.assert_close(model(images[1:]), features[1:], rtol=1e-3, atol=1e-4 * features.max().item())


@pytest.mark.parametrize("size", [(5, 7), (2, 3), (11, 30)])
def test_pixels_lie_where_tensorflow_1_put_them(size):
    image = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = resize_like_tensorflow(image, 9)
    for row in range(9):
        for column in range(9):
            y, x = row * size[0] / 9, column * size[1] / 9
            top, left = int(y), int(x)
            below, right = min(top + 1, size[0] - 1), min(left + 1, size[1] - 1)
            near = [image[0, 0, i, j].item() for i, j in ((top, left), (top, right), (below, left), (below, right))]
            upper, lower = near[0] + (near[1] - near[0]) * (x - left), near[2] + (near[3] - near[2]) * (x - left)
            assert found[0, 0, row, column].item() == pytest.approx(upper + (lower - upper) * (y - top), abs=1e-12)


def test_the_same_size_stays_as_it_is():
    image = torch.rand(1, 3, 12, 12)
    torch.testing.assert_close(resize_like_tensorflow(image, 12), image)
