"""The register encoder: who may see whom."""

import pytest
import torch

from openflextok.config import ConfigError, FSQConfig, RegisterViTConfig
from openflextok.nets.encoders import RegisterViT, register_mask
from openflextok.quantizers.fsq import FSQ

PATCHES, REGISTERS = 16, 8


@pytest.fixture
def encoder(make_config, randomise) -> RegisterViT:
    return randomise(RegisterViT(make_config().encoder))


@pytest.fixture
def latents() -> torch.Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_mask_by_the_rules():
    mask = register_mask(3, 4, torch.device("cpu"))
    for row in range(7):
        for column in range(7):
            allowed = column < 3 if row < 3 else (column < 3 or column <= row)
            assert bool(mask[row, column]) == allowed


@pytest.mark.parametrize("changed", range(REGISTERS))
def test_a_register_never_changes_the_slots_before_it(changed, encoder, latents):
    with torch.no_grad():
        before = encoder(latents).values_BND
        encoder.registers[changed].neg_()
        after = encoder(latents).values_BND
    assert torch.equal(after[:, :changed], before[:, :changed])
    assert bool(((after - before)[:, changed:].abs().amax(dim=(0, 2)) > 1e-3).all())  # and all later ones see it


def test_patches_never_see_registers(encoder, latents):
    seen = []
    for block in encoder.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(output[:, :PATCHES]))
    with torch.no_grad():
        encoder(latents)
        encoder.registers.normal_()
        encoder(latents)
    depth = len(encoder.blocks)
    for before, after in zip(seen[:depth], seen[depth:], strict=True):
        assert torch.equal(before, after)


def test_fewer_registers_give_the_same_first_slots(encoder, latents, make_config):
    """Causality the other way: an encoder without the last registers says the same."""
    import dataclasses

    small = RegisterViT(dataclasses.replace(make_config().encoder, num_registers=3))
    state = encoder.state_dict()
    small.load_state_dict(state | {"registers": state["registers"][:3]})
    with torch.no_grad():
        torch.testing.assert_close(small(latents).values_BND, encoder(latents).values_BND[:, :3], rtol=0, atol=1e-5)


def test_slots_are_a_linear_map_of_normalised_registers(encoder, latents):
    seen = []
    encoder.blocks[-1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        found = encoder(latents).values_BND
    for b in range(2):
        for i in range(REGISTERS):
            v = seen[0][b, PATCHES + i]
            normed = (v - v.mean()) / torch.sqrt(v.var(correction=0) + 1e-5)
            expected = encoder.head.weight @ normed + encoder.head.bias
            torch.testing.assert_close(found[b, i], expected, rtol=1e-4, atol=1e-4)


def test_registers_have_no_position_and_follow_the_patches(encoder, latents):
    seen = []
    encoder.blocks[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        encoder(latents)
        assert torch.equal(seen[0][:, :PATCHES], encoder.patches(latents))
    assert torch.equal(seen[0][:, PATCHES:], encoder.registers.expand(2, -1, -1))


def test_every_patch_reaches_every_slot(encoder, latents):
    latents.requires_grad_()
    for slot in range(REGISTERS):
        (gradient,) = torch.autograd.grad(encoder(latents).values_BND[0, slot].sum(), latents)
        assert bool((gradient[0].unflatten(-1, (4, 4)).unflatten(1, (4, 4)).abs().amax(dim=(0, 2, 4)) > 0).all())
        assert not gradient[1].any()


def test_a_fresh_encoder_uses_many_codes():
    torch.manual_seed(0)
    encoder = RegisterViT(RegisterViTConfig(3, 4, 64, 2, (4, 4), 8, head_dim=16))
    slots = encoder(torch.randn(4, 3, 16, 16)).values_BND
    assert 0.5 < slots.std() < 2
    assert len(FSQ(FSQConfig()).forward(slots).ids_BN.unique()) > 16  # of 32


def test_gradient_checkpointing_gives_the_same_gradients(encoder, latents):
    gradients = []
    for checkpoint in (False, True):
        encoder.checkpoint_blocks = checkpoint
        encoder.zero_grad()
        encoder(latents).values_BND.square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 10
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name])


def test_parameters_of_the_official_sizes():
    """Width 64 x depth: blocks of 4 w^2 + 3 w int(8 w / 3), without biases or norm weights."""
    depth = 12
    with torch.device("meta"):
        encoder = RegisterViT(RegisterViTConfig(16, 2, 64 * depth, depth, (16, 16), 256))
    w = 64 * depth
    blocks = depth * (4 * w * w + 3 * w * int(8 * w / 3))
    edges = (64 * w + w) + 256 * w + (6 * w + 6)
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == blocks + edges


@pytest.mark.parametrize(
    "entry, value",
    [("width", 0), ("depth", 0), ("head_dim", 0), ("patch_size", 0), ("grid", (0, 4)), ("num_registers", -1)],
)
def test_sizes_below_one_are_refused(entry, value):
    values = {
        "channels": 3,
        "patch_size": 4,
        "width": 32,
        "depth": 2,
        "grid": (4, 4),
        "num_registers": 8,
        "head_dim": 16,
    }
    with pytest.raises(ConfigError, match=f"{entry} .* must be at least 1"):
        RegisterViTConfig(**(values | {entry: value}))
