"""Guidance: how a conditional and an unconditional velocity become one.

Shape suffixes: B batch, C channels, H x W latents.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Protocol, cast, runtime_checkable

from torch import Tensor

Combine = Callable[[Tensor, Tensor], Tensor]  # (conditional, unconditional) -> guided, each (B, C, H, W)


@runtime_checkable
class Guidance(Protocol):
    """`start()` gives the combination for one decode; it may carry state from step to step."""

    def start(self) -> Combine: ...


@dataclass(frozen=True)
class CFG:
    """Classifier-free guidance (arXiv 2207.12598): u + scale * (c - u)."""

    scale: float

    def start(self) -> Combine:
        return lambda cond, uncond: uncond + self.scale * (cond - uncond)


@dataclass(frozen=True)
class APG:
    """Adaptive projected guidance (arXiv 2410.02416) on the velocity.

    The difference c - u gets a (negative) momentum per sample, its norm over (C, H, W) is clipped, and only its
    part orthogonal to c moves the result: c + (scale - 1) * orthogonal.
    """

    scale: float
    momentum: float = -0.5
    norm_threshold: float = 2.5

    def start(self) -> Combine:
        average: Tensor | float = 0.0

        def combine(cond_BCHW: Tensor, uncond_BCHW: Tensor) -> Tensor:
            nonlocal average
            average = cond_BCHW - uncond_BCHW + self.momentum * average
            norm = average.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            difference = average * (self.norm_threshold / norm.clamp_min(1e-12)).clamp_max(1.0)
            return cond_BCHW + (self.scale - 1) * orthogonal(difference, cond_BCHW)

        return combine


def orthogonal(difference_BCHW: Tensor, cond_BCHW: Tensor) -> Tensor:
    """The part of a difference that is orthogonal to `cond` over (C, H, W), computed in float32."""
    difference, cond = difference_BCHW.float().flatten(1), cond_BCHW.float().flatten(1)
    along = (difference * cond).sum(1, keepdim=True) / cond.square().sum(1, keepdim=True).clamp_min(1e-24)
    return (difference - along * cond).view_as(difference_BCHW).to(difference_BCHW.dtype)


KINDS: dict[str, Callable[[float], Guidance]] = {"cfg": CFG, "apg": APG}


def parse_guidance(text: str) -> tuple[Callable[[float], Guidance], float]:
    """'cfg:3' or 'apg:7.5' -> (class, scale)."""
    kind, _, scale = text.partition(":")
    try:
        number = float(scale)
    except ValueError:
        number = math.nan
    if kind not in KINDS or not math.isfinite(number):
        raise ValueError(
            f"unknown guidance {text!r}: give None, a number, 'cfg:SCALE', 'apg:SCALE', oft.CFG(3) or oft.APG(7.5)"
        )
    return KINDS[kind], number


def resolve_guidance(guidance: Guidance | float | str | None, default: str | None) -> Guidance | None:
    """What a caller wrote -> a guidance object, or None for the conditional pass alone.

    A bare number takes the checkpoint's own kind, named by `default` ('cfg:3'); 'default' takes all of it.
    """
    if guidance == "default":
        guidance = default
    if guidance is None:
        return None
    if isinstance(guidance, str):
        kind, scale = parse_guidance(guidance)
        return kind(scale)
    if isinstance(guidance, Real) and not isinstance(guidance, bool):
        kind, _, _ = (default or "cfg").partition(":")
        kind, scale = parse_guidance(f"{kind}:{float(guidance)}")
        return kind(scale)
    if isinstance(guidance, type) or not isinstance(guidance, Guidance):  # a class has the methods, too
        parse_guidance(str(guidance))  # which refuses it
    return cast(Guidance, guidance)
