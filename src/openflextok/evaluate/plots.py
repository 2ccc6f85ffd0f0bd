"""Plots as SVG text: lines with markers and error bars, readable in grey, with no script and no other file.

    curves -> ranges -> scales (data to pixels) -> frame, ticks, bars, lines, markers -> "<svg ...>"

Colours are those of M. Okabe and K. Ito for colour-blind readers; markers and dashes differ too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 400, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 24, 12, 46
COLOURS = ("#0072b2", "#d55e00", "#008866", "#b0518a", "#222222", "#c08500", "#56b4e9")
DASHES = ("", "7 3", "2 3", "9 3 2 3")
MARKERS = (
    "0,-4 4,0 0,4 -4,0",
    "-3.4,-3.4 3.4,-3.4 3.4,3.4 -3.4,3.4",
    "0,-4.4 4.2,3.4 -4.2,3.4",
    "0,4.4 4.2,-3.4 -4.2,-3.4",
)


@dataclass(frozen=True)
class Point:
    """One measured point, with the ends of its interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Curve:
    """A named line through points; `loose` ones are drawn, small, without a line."""

    name: str
    style: int
    """The same number has the same colour, dash and marker in all plots."""
    points: tuple[Point, ...]
    loose: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Axis:
    """One axis: its label with the unit, its scale, and its ticks (none: chosen)."""

    label: str
    log: bool = False
    ticks: tuple[float, ...] = ()


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    start: float
    end: float
    log: bool

    def __call__(self, value: float) -> float:
        a, b, v = (math.log(x) if self.log else x for x in (self.low, self.high, value))
        return self.start + (v - a) / (b - a) * (self.end - self.start)


def line_plot(title: str, curves: Sequence[Curve], x: Axis, y: Axis, width: int = WIDTH) -> str:
    """One plot as an <svg> element. ValueError for no points, or values that the axes cannot show."""
    points = [point for curve in curves for point in (*curve.points, *curve.loose)]
    heights = [v for p in points for v in (p.y, p.low, p.high) if v is not None]
    across = _scale([p.x for p in points], LEFT, width - RIGHT, x.log)
    up = _scale(heights, HEIGHT - BOTTOM, TOP, y.log)
    parts = [
        f'<svg viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        *_frame(across, up, x, y),
        *(part for curve in curves for part in _curve(curve, across, up)),
        "</svg>",
    ]
    return "\n".join(parts)


def legend(names: Sequence[tuple[str, int]]) -> str:
    """Names with the line and marker of their style, as one line of HTML."""
    return '<p class="legend">' + " ".join(_key(name, style) for name, style in names) + "</p>"


def _key(name: str, style: int) -> str:
    line = f'<line x1="0" x2="30" y1="7" y2="7" {_stroke(style)}/>'
    sample = (
        f'<svg viewBox="0 0 30 14" aria-hidden="true">{line}<g transform="translate(15 7)">{_marker(style)}</g></svg>'
    )
    return f"<span>{sample} {escape(name)}</span>"


def _scale(values: Sequence[float], start: float, end: float, log: bool) -> _Scale:
    if not values or not all(math.isfinite(value) and (value > 0 or not log) for value in values):
        raise ValueError(f"cannot draw {list(values)[:8]}: need finite values, above 0 for a logarithmic axis")
    low, high = min(values), max(values)
    if log:
        pad = max((high / low) ** 0.05, 1.03)
        return _Scale(low / pad, high * pad, start, end, True)
    pad = (high - low) * 0.06 or abs(high) * 0.1 or 0.1
    return _Scale(low - pad, high + pad, start, end, False)


def ticks_between(low: float, high: float, log: bool) -> tuple[float, ...]:
    """Round numbers inside a range: steps of 1, 2 or 5 times a power of ten, or 1, 2, 5, 10, ... where it is logarithmic."""
    if log:
        powers = [10.0**k for k in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
        for factors in ((1, 2, 5), (1, 3), (1,)):
            found = tuple(m * p for p in powers for m in factors if low <= m * p <= high)
            if 2 <= len(found) <= 10:
                return found
    step = 10.0 ** math.floor(math.log10((high - low) / 3))
    step = next(step * m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= 6.5)
    return tuple(k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1))


def _frame(across: _Scale, up: _Scale, x: Axis, y: Axis) -> list[str]:
    right, bottom = across.end, up.start
    parts = []
    for value in y.ticks or ticks_between(up.low, up.high, y.log):
        at = f"{up(value):.1f}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{at}" dy="4" text-anchor="end">{_number(value)}</text>')
    for value in x.ticks or ticks_between(across.low, across.high, x.log):
        at = f"{across(value):.1f}"
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text x="{at}" y="{bottom + 17}" text-anchor="middle">{_number(value)}</text>')
    middle = (TOP + bottom) / 2
    parts += [
        f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{right}"/>',
        f'<text class="label" x="{(LEFT + right) / 2}" y="{HEIGHT - 9}" text-anchor="middle">{escape(x.label)}</text>',
        f'<text class="label" transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(y.label)}</text>',
    ]
    return parts


def _curve(curve: Curve, across: _Scale, up: _Scale) -> list[str]:
    ink = _ink(curve.style)
    places = [(across(p.x), up(p.y), p) for p in curve.points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    parts = [f'<polyline points="{line}" fill="none" {_stroke(curve.style)}/>']
    for x, _, p in places:
        if p.low is not None and p.high is not None:
            ends = f'y1="{up(p.low):.1f}" y2="{up(p.high):.1f}"'
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" {ends} stroke="{ink}" stroke-width="1.2"/>')
    for x, y, p in places:
        tip = f"<title>{escape(curve.name)}: {_number(p.x)}, {_number(p.y)}</title>"
        parts.append(f'<g transform="translate({x:.1f} {y:.1f})">{_marker(curve.style)}{tip}</g>')
    dots = (f'<circle cx="{across(p.x):.1f}" cy="{up(p.y):.1f}" r="1.3" fill="{ink}"/>' for p in curve.loose)
    return [*dots, *parts]


def _ink(style: int) -> str:
    return COLOURS[style % len(COLOURS)]


def _stroke(style: int) -> str:
    dash = DASHES[(style // len(COLOURS)) % len(DASHES)]
    return f'stroke="{_ink(style)}" stroke-width="1.8"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _marker(style: int) -> str:
    shape = (None, *MARKERS)[style % (len(MARKERS) + 1)]
    ink = _ink(style)
    return f'<polygon points="{shape}" fill="{ink}"/>' if shape else f'<circle r="3.4" fill="{ink}"/>'


def _number(value: float) -> str:
    """'0.05', '12', '1,000': no more digits than needed."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
