"""AdamW groups with width-scaled rates, the schedule, and the moving average of weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from openflextok.train.settings import OptimConfig

FIXED_INPUTS = ("projection", "tokens", "input")  # Linear layers whose fan-in does not grow with the width


def parameter_groups(module: nn.Module, optim: OptimConfig) -> list[dict[str, object]]:
    """Trainable parameters in AdamW groups, each with `peak`, its own peak learning rate.

    Width scaling as in muP for Adam (arXiv 2203.03466, table 8): a hidden matrix (a Linear whose fan-in grows with the
    width: attention, MLP, adaLN, heads) gets learning_rate * base_width / fan_in, where the MLP's down projection
    counts as its block's width. Biases, positions, registers, convolutions and the Linears that read
    inputs of fixed size keep learning_rate. Weight decay applies to matrices and convolutions only.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, layer in module.named_modules():
        for key, parameter in layer.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            matrix = isinstance(layer, (nn.Linear, nn.Conv2d)) and key == "weight"
            peak = optim.learning_rate
            if matrix and isinstance(layer, nn.Linear) and name.rsplit(".", 1)[-1] not in FIXED_INPUTS:
                fan_in = layer.out_features if name.endswith("mlp.down") else layer.in_features
                peak *= optim.base_width / fan_in
            groups.setdefault((peak, optim.weight_decay if matrix else 0.0), []).append(parameter)
    return [{"params": group, "peak": peak, "weight_decay": decay} for (peak, decay), group in groups.items()]


def adamw(module: nn.Module, optim: OptimConfig) -> torch.optim.AdamW:
    groups = parameter_groups(module, optim)
    fused = all(p.device.type in ("cuda", "cpu") for g in groups for p in g["params"])  # type: ignore[attr-defined]
    return torch.optim.AdamW(groups, lr=optim.learning_rate, betas=optim.betas, eps=1e-8, fused=fused)


def rate_at(step: int, steps: int, optim: OptimConfig) -> float:
    """Share of the peak rate at a step (from 0): linear warm-up, then a cosine down to `final_ratio` at the last."""
    if step < optim.warmup_steps:
        return (step + 1) / optim.warmup_steps
    progress = (step - optim.warmup_steps) / max(1, steps - 1 - optim.warmup_steps)
    return optim.final_ratio + (1 - optim.final_ratio) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def set_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


class EMA:
    """An exponential moving average of a module's trainable parameters, as a plain mapping of tensors."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.weights: dict[str, Tensor] = {name: p.detach().clone() for name, p in self._live.items()}

    def decay_at(self, step: int) -> float:
        return min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, step: int) -> None:
        live = [p.detach() for p in self._live.values()]
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            list(self.weights.values()), live, 1 - self.decay_at(step)
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the module holds the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, live in self._live.items():
            average = self.weights[name]
            keep = live.detach().clone()
            live.copy_(average)
            average.copy_(keep)
