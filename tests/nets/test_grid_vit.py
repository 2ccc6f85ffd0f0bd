"""The 2D encoder: which patches a slot is made of, and which sizes it takes."""

import dataclasses

import pytest
import torch
from torch import nn

from openflextok.config import ConfigError, GridViTConfig, RegisterViTConfig
from openflextok.nets.encoders import GridViT, RegisterViT

CONFIG = GridViTConfig(3, 2, 32, 2, (4, 6), merge=2, slot_dim=5, head_dim=16)


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))


def test_without_blocks_a_slot_depends_on_its_own_square_alone(latents, randomise):
    encoder = randomise(GridViT(CONFIG))
    encoder.blocks = nn.ModuleList()
    before = encoder(latents).values_BND
    assert before.shape == (2, 6, 5) and encoder.num_slots == CONFIG.num_slots == 6
    for slot in range(6):
        row, column = divmod(slot, 3)
        changed = latents.clone()
        changed[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 1
        moved = (encoder(changed).values_BND - before).abs().amax((0, 2)) > 1e-6
        assert moved.nonzero().flatten().tolist() == [slot]


def test_with_blocks_every_slot_sees_the_whole_image(latents, randomise):
    encoder = randomise(GridViT(CONFIG))
    changed = latents.clone()
    changed[:, :, 0, 0] += 1
    assert bool(((encoder(changed).values_BND - encoder(latents).values_BND).abs().amax((0, 2)) > 1e-6).all())


def test_other_grids_are_refused(randomise):
    with pytest.raises(ValueError, match=r"takes \(4, 6\) alone"):
        GridViT(CONFIG)(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ConfigError, match="multiple of merge"):
        dataclasses.replace(CONFIG, merge=4)


def test_registers_that_are_not_causal_see_later_ones(randomise):
    causal = RegisterViTConfig(3, 4, 32, 2, (4, 4), 8, head_dim=16)
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for config, sees in ((causal, False), (dataclasses.replace(causal, causal=False), True)):
        encoder = randomise(RegisterViT(config))
        with torch.no_grad():
            before = encoder(x).values_BND[:, 0]
            encoder.registers[7].neg_()
            assert bool(((encoder(x).values_BND[:, 0] - before).abs() > 1e-6).any()) == sees
