"""PSNR, SSIM and code usage against closed forms and torchmetrics."""

import math

import pytest
import torch

from openflextok.evaluate.metrics import SSIM_C1, code_usage, psnr, ssim


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(3, 3, 24, 32, generator=generator) * 2 - 1
    return a, (a + 0.3 * torch.randn(a.shape, generator=generator)).clamp(-1, 1)


def test_psnr_of_a_constant_error():
    a = torch.zeros(2, 3, 8, 8)
    b = a + torch.tensor([0.2, 0.02]).view(2, 1, 1, 1)
    assert psnr(a, b).tolist() == pytest.approx([20.0, 40.0], abs=1e-4)
    assert psnr(a, a).tolist() == [math.inf, math.inf]


def test_ssim_of_constant_images():
    """Of levels 1.5 and 0.75 of 2, counted from black (Z. Wang et al., 2004): mid-grey is no zero."""
    a, b = torch.full((1, 3, 16, 16), 0.5), torch.full((1, 3, 16, 16), -0.25)
    assert ssim(a, b).item() == pytest.approx((2 * 1.5 * 0.75 + SSIM_C1) / (1.5**2 + 0.75**2 + SSIM_C1), rel=1e-5)
    grey = torch.zeros(1, 3, 16, 16)
    assert ssim(grey, grey + 4 / 127.5).item() > 0.999
    assert ssim(*(pair()[0],) * 2).tolist() == pytest.approx([1.0] * 3)


def test_ssim_and_psnr_equal_torchmetrics():
    functional = pytest.importorskip("torchmetrics.functional.image")
    a, b = pair()
    options = {"data_range": 1.0, "reduction": "none", "return_full_image": True}
    _, full = functional.structural_similarity_index_measure((a + 1) / 2, (b + 1) / 2, **options)
    theirs = full[..., 5:-5, 5:-5].mean((1, 2, 3))  # torchmetrics counts the mirrored borders too; Wang et al. do not
    torch.testing.assert_close(ssim(a, b), theirs, rtol=1e-4, atol=1e-5)
    theirs = functional.peak_signal_noise_ratio(a, b, data_range=2.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(psnr(a, b), theirs, rtol=1e-5, atol=1e-4)


def test_code_usage():
    usage = code_usage(torch.arange(8).repeat(5).view(5, 8), 16)
    assert (usage.share, usage.perplexity) == (0.5, pytest.approx(8.0))
    usage = code_usage(torch.tensor([3, 3, 3, 9]), 64_000)
    assert usage.share == 2 / 64_000
    assert usage.perplexity == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))
    assert code_usage(torch.zeros(9, dtype=torch.int64), 2).perplexity == 1


@pytest.mark.parametrize("ids", [[-1, 0], [0, 16], []])
def test_ids_out_of_range_are_refused(ids):
    with pytest.raises(ValueError, match=r"0 <= id < 16|at least one"):
        code_usage(torch.tensor(ids, dtype=torch.int64), 16)


def test_bad_shapes_are_refused():
    a = pair()[0]
    with pytest.raises(ValueError, match="two equal"):
        psnr(a, a[:1])
    with pytest.raises(ValueError, match="11 pixels a side"):
        ssim(a[..., :10], a[..., :10])
