"""Packed samples attend to nothing but themselves."""

from __future__ import annotations

import pytest
import torch

from openflextok.nets.attention import Attention, attention_backend
from openflextok.nets.packing import pack_streams

SAMPLES, PATCHES, REGISTERS = 3, 4, (5, 1)


@pytest.mark.parametrize("backend", ["sdpa", "math", "flex"])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_packed_samples_equal_samples_one_by_one(backend):
    """Rows are [patches of group 0, of group 1, registers of group 0, of group 1], sample after sample."""
    torch.manual_seed(0)
    attention = Attention(32, 8)
    weights = torch.randn(1, 1, 1, PATCHES + REGISTERS[1])  # the second group's, added to its scores
    patches = torch.randn(2, SAMPLES, PATCHES, 32)
    registers = [torch.randn(SAMPLES, count, 32) for count in REGISTERS]
    packed = pack_streams(SAMPLES, PATCHES, REGISTERS, (None, weights), torch.device("cpu"))
    x_1RD = torch.cat([patches.flatten(0, 2), *(r.flatten(0, 1) for r in registers)])[None]
    with torch.no_grad(), attention_backend(backend):
        found = attention(x_1RD, packed)
        row = 2 * SAMPLES * PATCHES
        for group, mask in enumerate((None, weights)):
            for sample in range(SAMPLES):
                alone = torch.cat([patches[group, sample], registers[group][sample]])[None]
                expected = attention(alone, mask)[0]
                start, count = (group * SAMPLES + sample) * PATCHES, REGISTERS[group]
                torch.testing.assert_close(found[0, start : start + PATCHES], expected[:PATCHES])
                torch.testing.assert_close(found[0, row : row + count], expected[PATCHES:])
                row += count
    assert row == x_1RD.shape[1]


def test_the_inverse_is_a_permutation():
    packed = pack_streams(SAMPLES, PATCHES, REGISTERS, (None, None), torch.device("cpu"))
    rows = torch.cat([rows_BL.flatten() for rows_BL in packed.rows])
    assert sorted(rows.tolist()) == list(range(SAMPLES * (2 * PATCHES + sum(REGISTERS))))
    assert torch.equal(rows[packed.inverse_R], torch.arange(len(rows)))
