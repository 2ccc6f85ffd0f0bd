"""What a curve offers at a number of bytes: its points, its front, and the best point that is small enough."""

from __future__ import annotations

from openflextok.evaluate.metric_names import metric_name
from openflextok.evaluate.results import Figure, Network, Result


def sized(result: Result, metric: str, network: Network | None = None) -> tuple[Figure, ...]:
    """The figures of a metric that say their bytes, smallest first."""
    found = [f for f in result.figures if f.metric == metric and f.network == network and f.bytes]
    return tuple(sorted(found, key=lambda figure: figure.bytes or 0.0))


def front(figures: tuple[Figure, ...]) -> tuple[Figure, ...]:
    """Of figures, smallest first, those that are better than every smaller one; all of them where none is better.

    A codec has several qualities and picture sizes: its front is the best that it can do.
    """
    kept: list[Figure] = []
    for figure in figures:
        if not kept or _is_better(figure, kept[-1]) is not False:
            kept.append(figure)
    return tuple(kept)


def best_within(figures: tuple[Figure, ...], most: float) -> Figure | None:
    """The best figure of at most `most` bytes; none where even the smallest is larger."""
    small = tuple(figure for figure in front(figures) if (figure.bytes or 0.0) <= most)
    return small[-1] if small else None


def settings_of(result: Result, figure: Figure) -> tuple[Figure, ...]:
    """What the point of a figure was made with: of points of equal bytes, the n-th settings are of the n-th value."""
    same = [f for f in result.figures if f.bytes == figure.bytes]
    number = [f for f in same if (f.metric, f.network) == (figure.metric, figure.network)].index(figure)
    names = dict.fromkeys(f.metric for f in same if metric_name(f.metric).group == "setting")
    return tuple([f for f in same if f.metric == name][number] for name in names)


def _is_better(one: Figure, other: Figure) -> bool | None:
    """Whether a figure is better than another of its metric; none where the metric has no better."""
    sign = {"higher": 1.0, "lower": -1.0, "": 0.0}[metric_name(one.metric).better]
    return sign * one.value > sign * other.value if sign else None
