"""Metrics by name, and what is said of unknown ones and missing libraries."""

import sys

import pytest
import torch

from openflextok.evaluate.metric_table import OTHER_NAMES, PAIRS, Chosen, choose


def test_names_are_sorted_into_kinds():
    chosen = choose(["bits", "kid", "psnr", "frechet", "colour"])
    assert chosen.pairs == ("psnr", "colour") and chosen.sets == ("frechet", "kid") and chosen.tokens == ("bits",)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="no metric 'frechett'; did you mean 'frechet'"):
        choose(["psnr", "frechett"])
    with pytest.raises(ValueError, match="no metric 'PSNR'; did you mean 'psnr'"):
        choose(["PSNR"])


@pytest.mark.parametrize(("name", "ours"), OTHER_NAMES.items())
def test_names_of_the_field_lead_to_ours(name, ours):
    assert choose([ours]) != Chosen()
    with pytest.raises(ValueError, match=f"no metric '{name.upper()}'; it is in '{ours}'"):
        choose([name.upper()])


def test_every_pair_metric_has_a_column_for_each_figure():
    images = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for name in ("psnr", "ssim", "colour"):
        values = PAIRS[name].load(torch.device("cpu")).compute(images, images.flip(0))
        assert values.shape == (2, len(PAIRS[name].figures))
    assert PAIRS["psnr"].load(torch.device("cpu")).compute(images, images).tolist() == [[100], [100]]


def test_ms_ssim_names_the_extra_where_its_library_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.functional.image", None)
    with pytest.raises(ImportError, match=r"pip install 'openflextok\[eval\]'"):
        PAIRS["ms-ssim"].load(torch.device("cpu"))


def test_ms_ssim_of_each_image_does_not_depend_on_the_others():
    torchmetrics = pytest.importorskip("torchmetrics")
    images = torch.rand(3, 3, 176, 176, generator=torch.Generator().manual_seed(0)) * 2 - 1
    other = (images + torch.tensor([0.0, 0.1, 0.4]).view(3, 1, 1, 1)).clamp(-1, 1)
    compute = PAIRS["ms-ssim"].load(torch.device("cpu")).compute
    together = compute(images, other)
    measure = torchmetrics.functional.image.multiscale_structural_similarity_index_measure
    theirs = measure((other + 1) / 2, (images + 1) / 2, data_range=1.0, reduction="none")  # levels from black
    torch.testing.assert_close(together[:, 0], theirs)
    torch.testing.assert_close(
        together, torch.cat([compute(a[None], b[None]) for a, b in zip(images, other, strict=True)])
    )
    assert together[0].item() == pytest.approx(1) and together[0] > together[1] > together[2]
