"""The critic's receptive field and independence of samples; the hinge losses in closed form."""

import pytest
import torch

from openflextok.nets.patchgan import PatchGAN, critic_loss, generator_loss


def test_a_score_sees_70_by_70_pixels():
    torch.manual_seed(0)
    model = PatchGAN(width=8).eval()
    images = torch.rand(1, 3, 128, 128).requires_grad_()
    scores = model(images)
    assert scores.shape == (1, 1, 14, 14)
    scores[0, 0, 7, 7].backward()
    assert images.grad is not None
    seen = images.grad[0].abs().sum(0) > 0
    rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    assert [int(x) for x in (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)] == [70, 70]


def test_scores_do_not_depend_on_the_batch():
    torch.manual_seed(0)
    model = PatchGAN(width=8, depth=2).eval()
    images = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(model(images)[1:2], model(images[1:2]))


def test_hinge_losses():
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-2.0, 0.0, 3.0])
    assert critic_loss(real, fake).item() == pytest.approx(((0 + 0.5 + 2) / 3 + (0 + 1 + 4) / 3) / 2)
    assert generator_loss(fake).item() == pytest.approx(-1 / 3)
    assert critic_loss(torch.tensor([1.0]), torch.tensor([-1.0])).item() == 0


def sigmas(model: PatchGAN) -> list[float]:
    """The largest singular value of every normed weight: 1 where the norm has followed the weight."""
    normed = [m for m in model.modules() if hasattr(m, "parametrizations")]
    return [float(torch.linalg.matrix_norm(m.weight.detach().flatten(1), 2)) for m in normed]


def test_norms_follow_the_weights_once_a_step_however_many_forwards_it_has():
    torch.manual_seed(0)
    model, images = PatchGAN(width=8, depth=2).train(), torch.rand(2, 3, 32, 32)
    assert sigmas(model) == pytest.approx([1.0] * 3, rel=0.05)
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    first = model(images)
    assert torch.equal(first, model(images))
    for name, value in model.named_buffers():
        assert torch.equal(value, buffers[name])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    assert max(sigmas(model)) > 1.2
    for _ in range(10):
        model.end_step()
    assert sigmas(model) == pytest.approx([1.0] * 3, rel=0.05)
    assert any(not torch.equal(value, buffers[name]) for name, value in model.named_buffers())


def test_a_batch_in_parts_gives_the_gradients_of_the_whole():
    torch.manual_seed(0)
    model, real, fake = PatchGAN(width=8, depth=2).train(), torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)

    def gradients(size: int) -> list[torch.Tensor]:
        model.zero_grad()
        for part_real, part_fake in zip(real.split(size), fake.split(size), strict=True):
            (critic_loss(model(part_real), model(part_fake)) * size / 4).backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    for whole, parts in zip(gradients(4), gradients(1), strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)
