"""The learned codebook: nearest codes by brute force, the moving average in closed form, and restarts."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from openflextok.config import ConfigError, VQConfig
from openflextok.quantizers import vq
from openflextok.quantizers.vq import VQ


def make(**settings) -> VQ:
    torch.manual_seed(0)
    return VQ(VQConfig(**({"codes": 11, "dim": 4} | settings)))


def slots(batch: int = 3, tokens: int = 5, seed: int = 1) -> torch.Tensor:
    """As an encoder in training gives them: with a gradient."""
    return torch.randn(batch, tokens, 4, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.mark.parametrize("decay", [0.9, None])
def test_ids_are_the_nearest_codes(decay, monkeypatch):
    monkeypatch.setattr(vq, "ROWS", 4)  # several parts
    quantizer, z = make(decay=decay), slots()
    unit, codes = F.normalize(z, dim=-1), F.normalize(quantizer.codebook_KD, dim=-1)
    expected = (unit[:, :, None] - codes).norm(dim=-1).argmin(-1)
    found = quantizer(z)
    assert torch.equal(found.ids_BN, expected) and torch.equal(quantizer.lookup(expected), codes[expected])
    torch.testing.assert_close(found.values_BND, codes[expected])
    assert torch.equal(quantizer(z.bfloat16().float()).ids_BN, quantizer(z.bfloat16()).ids_BN)


def test_gradients_pass_straight_through_and_commit():
    quantizer, z = make(commitment_weight=0.5), slots().requires_grad_()
    found = quantizer(z)
    found.values_BND.sum().backward()
    direct = slots().requires_grad_()
    F.normalize(direct, dim=-1).sum().backward()
    torch.testing.assert_close(z.grad, direct.grad)
    expected = 0.5 * (F.normalize(z, dim=-1) - quantizer.lookup(found.ids_BN)).square().mean()
    torch.testing.assert_close(found.losses.terms["commitment"], expected)
    assert list(found.losses.terms) == ["commitment"]


def test_a_codebook_that_learns_by_gradient_moves_towards_its_slots():
    quantizer, z = make(decay=None), slots()
    before = quantizer(z).losses.terms["codebook"]
    before.backward()
    with torch.no_grad():
        quantizer.codebook_KD -= 0.5 * quantizer.codebook_KD.grad
    assert quantizer(z).losses.terms["codebook"] < before


def test_the_moving_average_in_closed_form():
    quantizer, z = make(decay=0.75, restart_after=0), slots()
    codes = quantizer.codebook_KD.clone()
    ids, unit = quantizer(z).ids_BN, F.normalize(z, dim=-1)
    quantizer.end_step(True)
    for code in range(11):
        chosen = unit[ids == code]
        expected = F.normalize(0.75 * codes[code] + 0.25 * chosen.sum(0), dim=0) if len(chosen) else codes[code]
        torch.testing.assert_close(quantizer.codebook_KD[code], expected)
        assert quantizer.mass_K[code].item() == pytest.approx(0.75 + 0.25 * len(chosen))


def test_micro_batches_equal_one_batch_and_a_skipped_step_changes_nothing():
    whole, parts, skipped = make(restart_after=1), make(restart_after=1), make(restart_after=1)
    z = slots(4)
    whole(z)
    whole.end_step(True)
    for part in z.split(2):
        parts(part)
    parts.end_step(True)
    assert torch.equal(whole.codebook_KD, parts.codebook_KD) and torch.equal(whole.idle_K, parts.idle_K)
    before = skipped.codebook_KD.clone()
    skipped(z * float("nan"))
    skipped.end_step(False)
    assert torch.equal(skipped.codebook_KD, before) and not skipped.idle_K.any()
    skipped(z)
    skipped.end_step(True)
    assert torch.equal(skipped.codebook_KD, whole.codebook_KD)


def test_without_gradients_nothing_is_noted():
    quantizer = make()
    with torch.no_grad():
        quantizer(slots())
    assert not quantizer._seen
    quantizer(slots().detach())  # of a frozen encoder, in somebody's own training: nothing is to be learned, or kept
    assert not quantizer._seen


def test_idle_codes_move_to_the_slots_that_are_furthest():
    """Two codes far from all slots become the two worst served slots; used codes stay where the average puts them."""
    quantizer = make(codes=3, decay=1 - 1e-7, restart_after=2)
    with torch.no_grad():
        quantizer.codebook_KD.copy_(torch.tensor([[1.0, 0, 0, 0], [-1, 0, 0, 0], [-1, -0.01, 0, 0]]))
    z = F.normalize(
        torch.tensor([[[1.0, 0, 0, 0], [1, 0.1, 0, 0], [1, 0.5, 0, 0], [1, 0, 0.9, 0]]]), dim=-1
    ).requires_grad_()
    for step in range(2):
        assert quantizer(z).ids_BN.tolist() == [[0, 0, 0, 0]]
        quantizer.end_step(True)
        assert quantizer.idle_K.tolist() == ([0, 1, 1] if step == 0 else [0, 0, 0])
    torch.testing.assert_close(quantizer.codebook_KD[1:], z[0, [3, 2]].detach())
    assert quantizer(z).ids_BN.tolist() == [[0, 0, 2, 1]]


@pytest.mark.parametrize("settings", [{"codes": 1}, {"decay": 1.0}, {"restart_after": -1}, {"dim": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ConfigError):
        VQConfig(**settings)


def one_of_two(rank: int, folder: str) -> None:
    """A process whose codebook has drifted a little, as sums on GPUs make it; one step."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.manual_seed(0)
    quantizer = VQ(VQConfig(codes=8, dim=4, decay=0.9)).train()
    torch.manual_seed(1 + rank)
    quantizer.codebook_KD.add_(1e-3 * rank * torch.randn(8, 4))
    quantizer(torch.randn(2, 3, 4, requires_grad=True))
    quantizer.end_step(True)
    save_file({"codebook": quantizer.codebook_KD, "mass": quantizer.mass_K}, f"{folder}/{rank}.safetensors")
    dist.barrier()
    dist.destroy_process_group()


def test_processes_end_a_step_with_one_codebook(tmp_path):
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
