"""Two images that any machine makes bit for bit the same, the goldens, and the networks in the cache."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from openflextok.convert.network_cache import network_path

sys.path.insert(0, str(Path(__file__).parents[1] / "generators"))
from small_generators import encoder_folder  # noqa: F401

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def synthetic_pair() -> tuple[Tensor, Tensor]:
    """As `golden/make_golden.py` makes them: (2,3,96,96) in [-1,1], from whole numbers."""
    y, x = torch.arange(96).view(1, 1, -1, 1), torch.arange(96).view(1, 1, 1, -1)
    c, n = torch.arange(3).view(1, 3, 1, 1), torch.arange(2).view(2, 1, 1, 1)
    base = ((3 + n) * y * y // 29 + (5 + c) * x * y // 31 + 40 * c + 70 * n) % 256
    noise = ((37 * y + 91 * x + 17 * c) * (y + 3 * x + 1 + n)) % 61
    return base.float() / 127.5 - 1, (base + noise - 30).clamp(0, 255).float() / 127.5 - 1


@pytest.fixture
def golden() -> dict:
    return json.loads((GOLDEN / "networks.json").read_text())


@pytest.fixture
def need_network():
    """Skip where a converted network is not in the cache: tests never touch the network."""

    def need(name: str) -> None:
        if not network_path(name).is_file():
            pytest.skip(f"{name} is not in the cache: openflextok.convert has to fetch it once")

    return need
