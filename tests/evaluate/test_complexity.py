"""Tokens needed of a tokenizer whose distance is a known function of the length, however the work was cut."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from openflextok.config import UniformConfig
from openflextok.evaluate.complexity import Complexity, Target
from openflextok.evaluate.job import run
from openflextok.evaluate.reference import Reference

SIDE, CONTRASTS = 16, (20, 40, 60, 80, 100, 120)


class Columns(nn.Module):
    """Token k is column k of a picture; columns without a token are grey (half a step below 128)."""

    num_tokens, image_size, device = SIDE, (SIDE, SIDE), torch.device("cpu")
    decoder = SimpleNamespace(options=())
    config = SimpleNamespace(decoder=UniformConfig())  # which has no settings

    def fingerprint(self) -> str:
        return "columns"

    def bytes_per_image(self, length: int) -> int:
        return 2 * length

    def encode(self, images_BCHW: Tensor) -> SimpleNamespace:
        return SimpleNamespace(ids=(images_BCHW[:, 0, 0] * 127.5 + 127.5).round().long())

    def decode(self, ids_BN: Tensor, seed: list[int]) -> Tensor:
        assert len(seed) == len(ids_BN)
        row_BW = torch.full((len(ids_BN), SIDE), 127.0)
        row_BW[:, : ids_BN.shape[1]] = ids_BN.float()
        return (row_BW / 127.5 - 1)[:, None, None].expand(-1, 3, SIDE, SIDE)


@pytest.fixture
def reference(tmp_path) -> Reference:
    """Pictures of columns that are 127 plus and minus a contrast in turns."""
    (tmp_path / "columns").mkdir()
    for number, contrast in enumerate(CONTRASTS):
        row = 127 + contrast * np.where(np.arange(SIDE) % 2, 1, -1)
        pixels = np.broadcast_to(row[None, :, None], (SIDE, SIDE, 3)).astype(np.uint8)
        Image.fromarray(pixels.copy()).save(tmp_path / f"columns/{number}.png")
    return Reference(str(tmp_path / "columns"), (SIDE, SIDE))


def make_job(reference: Reference, target: Target, batch: int = 4, tokenizer: nn.Module | None = None) -> Complexity:
    model = tokenizer or Columns()
    return Complexity("columns", model, reference, reference.survey(), target, batch=batch)  # pyright: ignore


def by_hand(decibels: float) -> list[int]:
    """PSNR at length n is 20 log10(255 / contrast) - 10 log10((N - n) / N): the first n at which it is enough."""
    return [
        next((n for n in range(1, SIDE) if 20 * math.log10(255 / c) - 10 * math.log10(1 - n / SIDE) >= decibels), SIDE)
        for c in CONTRASTS
    ]


@pytest.mark.parametrize("every_length", [False, True])
def test_tokens_needed_are_those_of_the_formula(reference, tmp_path, every_length):
    for decibels in (10.0, 15.0, 22.0):
        name = f"{decibels}.json"
        result = run(
            make_job(reference, Target("psnr", decibels, every_length)), tmp_path / f"{name}.parts", tmp_path / name
        )
        assert result is not None
        needed = torch.tensor(by_hand(decibels), dtype=torch.float64)
        near = {figure.length: figure.value for figure in result.of("near_enough")}
        assert near == {n: (needed <= n).double().mean().item() for n in (1, 2, 4, 8, 16)}
        assert [figure.bytes for figure in result.of("near_enough")] == [2, 4, 8, 16, 32]
        middle = sorted(by_hand(decibels))
        assert result.of("tokens_needed_q50")[0].value == middle[3]
        assert [figure.value for figure in result.of("rises")] == [0.0] * every_length
    ranks = result.of("rank_gradient")[0]  # contrasts grow, and so do squared gradients and tokens needed
    assert len(set(by_hand(22.0))) > 3 and 0.9 < ranks.value <= 1 and ranks.low is not None and ranks.low <= ranks.value
    assert {s.name: s.value for s in result.subject.settings}["target"] == "psnr >= 22"


def test_never_is_one_more_than_all_tokens(reference, tmp_path):
    class Blind(Columns):
        def decode(self, ids_BN: Tensor, seed: list[int]) -> Tensor:
            return torch.zeros(len(ids_BN), 3, SIDE, SIDE)

    job = make_job(reference, Target("psnr", 60.0), tokenizer=Blind())
    result = run(job, tmp_path / "parts", tmp_path / "r.json")
    assert result is not None and result.of("near_enough")[-1].value == 0
    assert result.of("tokens_needed_q25")[0].value == SIDE + 1
    assert not result.of("rank_webp") and any("no rank correlation" in note for note in result.notes)


def test_a_killed_run_goes_on_and_batches_do_not_matter(reference, tmp_path):
    target = Target("psnr", 22.0)
    whole = run(make_job(reference, target), tmp_path / "a.parts", tmp_path / "a.json")

    def kill(images: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_job(reference, target, batch=1), tmp_path / "b.parts", tmp_path / "b.json", kill)
    ticks: list[int] = []
    assert run(make_job(reference, target, batch=1), tmp_path / "b.parts", tmp_path / "b.json", ticks.append) == whole
    assert sum(ticks) == len(CONTRASTS) - 1
    with pytest.raises(ValueError, match="different in .*psnr >= 23"):
        run(make_job(reference, Target("psnr", 23.0), batch=1), tmp_path / "b.parts", tmp_path / "b.json")


def test_impossible_targets_are_refused(reference):
    for metric, value, message in (
        ("psnrr", 20.0, "did you mean 'psnr'"),
        ("colour", 20.0, "known: lpips-alex, lpips-vgg, ms-ssim, psnr, ssim"),
        ("frechet", 20.0, "for 'frechet'; known: lpips-alex"),
        ("psnr", math.nan, "not a finite number"),
    ):
        with pytest.raises(ValueError, match=message):
            Target(metric, value)
    with pytest.raises(ValueError, match="needs sides of 176 pixels or more, these are 16"):
        make_job(reference, Target("ms-ssim", 0.9))
