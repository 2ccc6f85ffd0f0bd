"""Precision, recall, density and coverage against loops, and on a line where they can be counted by hand."""

import pytest
import torch

from openflextok.evaluate import neighbours as module
from openflextok.evaluate.neighbours import DENSITY_K, FIDELITY_K, Neighbours, neighbours, radii


def radius(points, i: int, k: int) -> float:
    return sorted((points[i] - other).norm().item() for j, other in enumerate(points) if j != i)[k - 1]


def by_loops(real, made) -> Neighbours:
    near_real = [radius(real, i, FIDELITY_K) for i in range(len(real))]
    near_made = [radius(made, i, FIDELITY_K) for i in range(len(made))]
    wide = [radius(real, i, DENSITY_K) for i in range(len(real))]
    inside = [[(m - r).norm().item() <= wide[i] for i, r in enumerate(real)] for m in made]
    precise = [any((m - r).norm().item() <= near_real[i] for i, r in enumerate(real)) for m in made]
    recalled = [any((m - r).norm().item() <= near_made[i] for i, m in enumerate(made)) for r in real]
    return Neighbours(
        precision=sum(precise) / len(made),
        recall=sum(recalled) / len(real),
        density=sum(map(sum, inside)) / (DENSITY_K * len(made)),
        coverage=sum(any(column) for column in zip(*inside, strict=True)) / len(real),
    )


@pytest.mark.parametrize("at_once", [4, 1024])
def test_they_equal_loops(at_once, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(23, 3, generator=generator, dtype=torch.float64)
    made = torch.randn(17, 3, generator=generator, dtype=torch.float64) * 0.6 + 0.7
    found = neighbours(real, made)
    assert found == by_loops(real, made)
    assert 0 < found.recall < 1 and 0 < found.precision <= 1


def test_points_on_a_line_by_hand():
    real = torch.arange(10.0)[:, None]
    assert radii(real, 3).tolist() == [3, 2, 2, 2, 2, 2, 2, 2, 2, 3]
    made = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4, 30.0])[:, None]  # five near one end, one far away
    found = neighbours(real, made)
    # the ball of 30 reaches back to 0.2, so all real images from 1 on lie in it, and 0 lies on a made one
    assert found.precision == 5 / 6
    assert found.recall == 1.0
    assert (
        found.coverage == 4 / 10
    )  # the balls of 0, 1, 2, 3 (to the fifth neighbour: 5, 4, 3, 3) hold 0.4; that of 4 does not
    assert found.density == pytest.approx(5 * 4 / (DENSITY_K * 6))
    assert found == by_loops(real, made)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="5 images have no 5-th neighbours: give 6"):
        neighbours(torch.rand(5, 2), torch.rand(9, 2))
