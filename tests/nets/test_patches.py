"""Patches and positions against loops and reference tables."""

import pytest
import torch

from openflextok.nets.patches import PatchEmbedding, patchify, sincos_table, unpatchify


def embedding(grid=(4, 4), positions="sincos", interpolate=False, size=2) -> PatchEmbedding:
    return PatchEmbedding(3, size, 16, grid, positions, interpolate)


@pytest.mark.parametrize("size, shape", [(2, (4, 6)), (1, (3, 2)), (4, (8, 4)), (3, (3, 9))])
def test_patchify_equals_loops(size, shape):
    B, C, (H, W) = 2, 3, shape
    x = torch.arange(B * C * H * W).float().view(B, C, H, W)
    found = patchify(x, size)
    assert found.shape == (B, H * W // size**2, size * size * C)
    for b in range(B):
        patch = 0
        for top in range(0, H, size):
            for left in range(0, W, size):
                vector = [x[b, c, top + i, left + j].item() for i in range(size) for j in range(size) for c in range(C)]
                assert found[b, patch].tolist() == vector
                patch += 1
    assert torch.equal(unpatchify(found, size, (H // size, W // size)), x)


def test_patchify_takes_channels_last():
    x = torch.randn(2, 3, 4, 6).to(memory_format=torch.channels_last)
    assert torch.equal(patchify(x, 2), patchify(x.contiguous(), 2))


def test_the_square_reference_table(units):
    found = sincos_table((16, 16), 768)[..., ::5, ::5]
    torch.testing.assert_close(found, units("embeddings")["sincos_16x16_768"], rtol=0, atol=1e-6)


def test_the_reference_table_that_is_not_square_is_ours_folded(units):
    """The released code numbers 12 x 8 places and reads them as 8 x 12."""
    folded = sincos_table((12, 8), 64).flatten(2).unflatten(2, (8, 12))
    torch.testing.assert_close(folded, units("embeddings")["sincos_8x12_64"], rtol=0, atol=1e-6)


def test_one_half_of_a_position_is_its_row_the_other_its_column():
    table = sincos_table((3, 5), 16)[0]
    for row in range(3):
        for column in range(5):
            assert torch.equal(table[:8, row, column], sincos_table((7, 7), 16)[0, :8, row, 6])
            assert torch.equal(table[8:, row, column], sincos_table((7, 7), 16)[0, 8:, 6, column])


def test_smaller_grids_get_the_corner_of_the_table():
    patches = embedding((4, 6))
    with torch.no_grad():
        patches.positions.normal_()
    table = patches.positions.detach()
    for h, w in ((4, 6), (2, 3), (1, 6), (4, 1)):
        found = patches.table((h, w))
        for row in range(h):
            for column in range(w):
                assert torch.equal(found[0, row * w + column], table[0, :, row, column])


def test_positions_are_added_to_the_projected_patches(randomise):
    patches = randomise(embedding((4, 6)))
    x = torch.randn(2, 3, 4, 8)
    expected = patchify(x, 2) @ patches.projection.weight.T + patches.projection.bias + patches.table((2, 4))
    torch.testing.assert_close(patches(x), expected)


def test_larger_grids_stretch_the_table_only_where_asked():
    """A table that is linear in row and column: stretched values are known, ends stay ends."""
    patches = embedding((3, 5), interpolate=True)
    rows, columns = torch.arange(3.0)[:, None], torch.arange(5.0)[None]
    with torch.no_grad():
        patches.positions.copy_((10 * rows + columns).expand(1, 16, 3, 5))
    found = patches.table((5, 9))[0, :, 0].view(5, 9)
    expected = 10 * torch.linspace(0, 2, 5)[:, None] + torch.linspace(0, 4, 9)[None]
    torch.testing.assert_close(found, expected)
    # one side larger, the other within the table: that one is cropped, not squeezed
    found = patches.table((5, 2))[0, :, 0].view(5, 2)
    torch.testing.assert_close(found, expected[:, [0, 2]])


@pytest.mark.parametrize("native", [(4, 4), (3, 5), (6, 2)])
def test_axial_positions_add_a_row_and_a_column(native):
    patches = embedding(native, "axial")
    row_D1, column_D1 = patches.positions.detach()[:, 0]
    for h, w in (native, (2, 1)):
        found = patches.table((h, w))
        assert found.shape == (1, h * w, 16)
        for row in range(h):
            for column in range(w):
                assert torch.equal(found[0, row * w + column], row_D1[:, row] + column_D1[:, column])


def test_fixed_tables_are_not_trained_but_axial_ones_are():
    assert not embedding().positions.requires_grad
    assert embedding(positions="axial").positions.requires_grad


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (10, 4), (4, 10), (0, 4), (1, 1)])
def test_sizes_that_do_not_fit_name_those_that_do(shape):
    with pytest.raises(
        ValueError, match=rf"{shape[0]}x{shape[1]} latents: both sides must be multiples of 2 up to 8x8"
    ):
        embedding()(torch.zeros(1, 3, *shape))


def test_interpolated_tables_take_larger_but_not_odd_sizes():
    patches = embedding(interpolate=True)
    assert patches(torch.zeros(1, 3, 10, 4)).shape == (1, 10, 16)
    with pytest.raises(ValueError, match=r"5x4 latents: both sides must be multiples of 2$"):
        patches(torch.zeros(1, 3, 5, 4))
