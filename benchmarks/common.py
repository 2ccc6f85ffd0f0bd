"""Timing against the machine's own matmul peak, and the one schema of results/*.json."""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from openflextok.memory import keep_freed_memory

keep_freed_memory()  # as the command does


@dataclass(frozen=True)
class Timing:
    """Seconds per call."""

    minimum: float
    median: float


def measure(function: Callable[[], object], repeats: int = 5) -> Timing:
    """Time a call after one call to warm up."""
    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return Timing(min(seconds), statistics.median(seconds))


def in_turns(functions: dict[str, Callable[[], object]], turns: int) -> dict[str, Timing]:
    """Seconds of each function, all of them in every turn, after one call each to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(turns + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: Timing(min(found), statistics.median(found)) for name, found in seconds.items()}


def matmul(dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    """A 2048 x 2048 x 2048 product, to measure the peak with."""
    a, b = torch.randn(2048, 2048, dtype=dtype), torch.randn(2048, 2048, dtype=dtype)
    return lambda: a @ b


def matmul_peak(dtype: torch.dtype) -> Timing:
    """Seconds for that product."""
    return measure(matmul(dtype))


PRODUCTS = (
    5  # of a turn: a first product alone finds cold caches and clocks, and took a third longer than the later ones
)


def products(dtype: torch.dtype) -> Callable[[], None]:
    """That product, PRODUCTS times."""
    product = matmul(dtype)

    def run() -> None:
        for _ in range(PRODUCTS):
            product()

    return run


MATMUL_FLOPS = 2 * 2048**3


def machine() -> dict[str, object]:
    """What the figures depend on."""
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def write(path: Path, benchmark: str, rows: list[dict[str, object]]) -> None:
    """results/*.json: {benchmark, date, machine, rows}."""
    content = {"benchmark": benchmark, "date": time.strftime("%Y-%m-%d"), "machine": machine(), "rows": rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def row(**values: object) -> dict[str, object]:
    """A row of results, timings flattened to two numbers."""
    flat: dict[str, object] = {}
    for name, value in values.items():
        flat |= (
            {f"{name}_{k}": round(v, 6) for k, v in asdict(value).items()}
            if isinstance(value, Timing)
            else {name: value}
        )
    return flat
