"""MobileNetV2 with the published weights equals torchvision's (goldens); folding equals a batch norm."""

import pytest
import torch
from torch import nn

from openflextok.convert import mobilenet as convert
from openflextok.nets.mobilenet import FEATURES, WIDTHS, MobileNetV2


def test_features_equal_the_reference(need_network, golden, synthetic_pair):
    need_network("mobilenet-v2")
    model, images = convert.load_mobilenet(), synthetic_pair[0]
    torch.testing.assert_close(
        model(images)[:, :16], torch.tensor(golden["mobilenet"]["features_head"]), rtol=1e-3, atol=1e-4
    )
    for stride, width in WIDTHS.items():
        maps = model.spatial(images, stride)
        assert maps.shape == (2, width, 96 // stride, 96 // stride)
        assert maps.double().abs().sum().item() == pytest.approx(golden["mobilenet"]["map_sums"][str(stride)], rel=1e-5)


def test_folding_equals_convolution_and_batch_norm():
    generator = torch.Generator().manual_seed(0)
    convolution, norm = nn.Conv2d(4, 6, 3, bias=False), nn.BatchNorm2d(6).eval()
    parts = [torch.rand(6, generator=generator) + 0.5 for _ in range(4)]
    norm.load_state_dict(dict(zip(convert.NORM_PARTS, parts, strict=True)), strict=False)
    kernel, bias = convert.fold(convolution.weight.detach(), *parts)
    images = torch.randn(2, 4, 8, 8, generator=generator)
    folded = nn.functional.conv2d(images, kernel, bias)
    torch.testing.assert_close(folded, norm(convolution(images)), rtol=1e-5, atol=1e-5)


def foreign_state() -> dict[str, torch.Tensor]:
    """Random tensors under torchvision's names, with norms that do nothing."""
    model, state = MobileNetV2(), {name: torch.zeros(1) for name in convert.CLASSIFIER.values()}
    for ours, (convolution, norm) in convert.layer_table().items():
        weight = model.get_submodule(ours).weight
        assert isinstance(weight, torch.Tensor)
        width = weight.shape[0]
        ones, zeros = torch.ones(width), torch.zeros(width)
        state[f"{convolution}.weight"] = weight
        state |= {f"{norm}.weight": ones * (1 + convert.BATCH_NORM_EPS) ** 0.5, f"{norm}.bias": zeros}
        state |= {f"{norm}.running_mean": zeros, f"{norm}.running_var": ones}
        state[f"{norm}.num_batches_tracked"] = torch.tensor(1)
    return state


def test_names_are_torchvisions():
    table = convert.layer_table()
    assert len(table) == 52
    assert table["blocks.0.0"] == ("features.0.0", "features.0.1")
    assert table["blocks.1.layers.0"] == ("features.1.conv.0.0", "features.1.conv.0.1")
    assert table["blocks.1.layers.2"] == ("features.1.conv.1", "features.1.conv.2")
    assert table["blocks.17.layers.4"] == ("features.17.conv.2", "features.17.conv.3")
    assert table["blocks.18.0"] == ("features.18.0", "features.18.1")


def test_every_parameter_is_filled():
    foreign = foreign_state()
    state = convert.fold_state_dict(foreign)
    assert set(state) == set(MobileNetV2().state_dict())
    torch.testing.assert_close(state["blocks.18.0.weight"], foreign["features.18.0.weight"])
    assert state["blocks.18.0.bias"].shape == (FEATURES,)


def test_unknown_keys_are_refused():
    with pytest.raises(ValueError, match=r"classifier\.2\.weight"):
        convert.fold_state_dict(foreign_state() | {"classifier.2.weight": torch.zeros(1)})
