"""Solvers on equations with known solutions."""

import math

import numpy as np
import pytest
import torch

from openflextok.flow.sampler import PRESETS, SOLVERS, Euler, Heun, count_steps, time_grid


def solve(solver, steps: int, velocity, start: float = 1.0) -> float:
    """Integrate dx/dt = velocity(x, t) from t = 1 to 0 in float64."""
    times = time_grid(steps).double()
    return float(solver(lambda x, i: velocity(x, times[i]), torch.tensor(start, dtype=torch.double), steps))


@pytest.mark.parametrize("solver", [Euler(), Heun()])
@pytest.mark.parametrize("steps", [1, 3, 25])
def test_a_straight_path_is_solved_exactly(solver, steps):
    """Along the true velocity eps - x0 even one step arrives at the data."""
    x0, noise = torch.randn(2, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(solver(lambda x, i: noise - x0, noise, steps), x0, rtol=0, atol=1e-5)


def slope(solver, velocity, exact: float) -> float:
    """Order of convergence from halving the step five times."""
    errors = [abs(solve(solver, steps, velocity) - exact) for steps in (16, 512)]
    return math.log2(errors[0] / errors[1]) / 5


def test_euler_is_of_first_order():
    # dx/dt = x: x(0) = x(1) / e
    assert slope(Euler(), lambda x, t: x, math.exp(-1)) == pytest.approx(1.0, abs=0.05)


def test_heun_is_of_second_order():
    # the last step is Euler's, an error of order h^2 for a smooth field: the whole stays of second order
    assert slope(Heun(), lambda x, t: x, math.exp(-1)) == pytest.approx(2.0, abs=0.1)
    # dx/dt = cos(5 t) x: x(0) = x(1) exp(-sin(5) / 5)
    exact = math.exp(-math.sin(5) / 5)
    assert slope(Heun(), lambda x, t: torch.cos(5 * t) * x, exact) == pytest.approx(2.0, abs=0.2)
    heun, euler = (abs(solve(s, n, lambda x, t: x) - math.exp(-1)) for s, n in ((Heun(), 16), (Euler(), 32)))
    assert heun < euler / 5  # for the same number of network calls


def test_euler_by_hand():
    # two steps at t = 1 and t = 1/2 with v = x t
    assert solve(Euler(), 2, lambda x, t: x * t) == pytest.approx((1 - 1 / 2) * (1 - 1 / 4))


def test_network_calls_per_solver():
    calls: list[int] = []
    for solver, expected in ((Euler(), [0, 1, 2]), (Heun(), [0, 1, 1, 2, 2])):
        calls.clear()
        solver(lambda x, i: calls.append(i) or x, torch.ones(()), 3)
        assert calls == expected


def test_time_grid():
    assert time_grid(4).tolist() == [1.0, 0.75, 0.5, 0.25] and time_grid(1).tolist() == [1.0]
    assert time_grid(25).dtype == torch.float32 and len(time_grid(1000)) == 1000


@pytest.mark.parametrize("steps", [0, -1, 1001, 2.5, "25", None])
def test_impossible_step_counts_are_refused(steps):
    with pytest.raises(ValueError, match=r"cannot solve with .* steps: give a whole number with 1 <= steps <= 1000"):
        count_steps(steps)


def test_solvers_have_names():
    assert dict(SOLVERS) == {"euler": Euler(), "heun": Heun()}


def test_presets_are_numbers_of_steps():
    assert [count_steps(name) for name in ("fast", "balanced", "best")] == list(PRESETS.values())
    assert count_steps(np.int64(7)) == 7
    assert count_steps(7) == 7
    with pytest.raises(ValueError, match="'quick' steps: .* or fast, balanced, best"):
        count_steps("quick")
