"""Small sets of pictures and a feature network of 4 numbers, for the tests of whole measurements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from openflextok.evaluate import features
from openflextok.evaluate.features import Extractor
from openflextok.evaluate.results import Network

LABELS = ("apple", "banana", "cherry")


def quarters(images_BCHW: Tensor) -> Tensor:
    """(B,4): the mean of each quarter of an image."""
    return torch.nn.functional.adaptive_avg_pool2d(images_BCHW.mean(1, keepdim=True), 2).flatten(1)


@pytest.fixture
def quarters_network(monkeypatch) -> Network:
    """A feature network "quarters" that needs no weights."""
    network = Network("quarters", "ab" * 32)
    monkeypatch.setitem(features.NETWORKS, "quarters", lambda device: Extractor(network, 4, 1, quarters))
    return network


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten smooth pictures in folders that are their labels; the fifth is broken."""
    folder, rng = tmp_path / "pictures", np.random.default_rng(0)
    for number in range(10):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        path = folder / LABELS[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((20, 16), Image.Resampling.BICUBIC).save(path)
    (folder / LABELS[4 % 3] / "4.png").write_bytes(b"cut off")
    return folder
