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
