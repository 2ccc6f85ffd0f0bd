"""The plots of one group of results: each metric against tokens, bytes and decoding time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from openflextok.evaluate.fronts import front, sized
from openflextok.evaluate.metric_names import Group, metric_name
from openflextok.evaluate.plots import WIDTH, Axis, Curve, Point, legend, line_plot
from openflextok.evaluate.report.reading import Column, Measured, columns_of
from openflextok.evaluate.results import Figure, Protocol

DECODING = "decode_seconds"
WIDE_RATIO = 8.0  # largest over smallest value from which an axis of seconds is logarithmic
MOST_TICKS = 12


def plots(measured: Sequence[Measured], protocol: Protocol, number: int) -> str:
    """All plots of a group that have a line to show, below a legend for each metric; the lesser ones folded away."""
    about = f"Protocol {number}: {protocol.images} images of {protocol.reference}"
    main, lesser = (_plots(measured, groups, about) for groups in (MAIN, LESSER))
    more = (
        f"<details><summary>Plots of colours, codes, bits, tokens needed, time, words and faces</summary>{lesser}</details>"
        if lesser
        else ""
    )
    return f"<h3>Plots</h3>{main}{more}" if main or lesser else ""


def _plots(measured: Sequence[Measured], groups: Mapping[Group, Sequence[Against]], about: str) -> str:
    shown = ""
    for column in columns_of(measured):
        found = "".join(plot(measured, column, about) for plot in groups.get(metric_name(column.metric).group, ()))
        having = [(one.name, one.style) for one in measured if _has_line(one, column)]
        shown += f'<div class="plots">{legend(having)}{found}</div>' if found else ""
    return shown


def _has_line(one: Measured, column: Column) -> bool:
    figures = [f for f in one.result.of(column.metric) if f.network == column.network]
    return any(figure.length is not None or figure.bytes is not None for figure in figures)


def against_length(measured: Sequence[Measured], column: Column, about: str) -> str:
    """A metric against the tokens kept."""
    curves = _curves(measured, column, lambda one, figure: figure.length)
    lengths = sorted({point.x for curve in curves for point in curve.points})
    ticks = tuple(lengths) if len(lengths) <= MOST_TICKS else ()
    return _plot(column, curves, Axis("tokens kept (logarithmic)", True, ticks), about)


def against_bytes(measured: Sequence[Measured], column: Column, about: str) -> str:
    """A metric against the bytes of an image; a line joins lengths, or the points better than any smaller one."""
    curves = []
    for one in measured:
        figures = sized(one.result, column.metric, column.network)
        joined = figures if all(figure.length is not None for figure in figures) else front(figures)
        points = tuple(_point(figure, figure.bytes or 0.0) for figure in joined)
        loose = tuple(_point(figure, figure.bytes or 0.0) for figure in figures if figure not in joined)
        curves += [Curve(one.name, one.style, points, loose)] if points else []
    wide = any(figure.length is None for one in measured for figure in sized(one.result, column.metric, column.network))
    dots = " Small dots: points of a codec no better than one with fewer bytes." if any(c.loose for c in curves) else ""
    return _plot(column, curves, Axis("bytes of an image, mean (logarithmic)", True), about + "." + dots, wide)


def against_seconds(measured: Sequence[Measured], column: Column, about: str) -> str:
    """A metric against the time that decoding takes at the same length."""
    curves = _curves(measured, column, _seconds)
    seconds = [point.x for curve in curves for point in curve.points]
    wide = bool(seconds) and max(seconds) > WIDE_RATIO * min(seconds)
    return _plot(column, curves, Axis("decoding, seconds per image" + " (logarithmic)" * wide, wide), about)


def against_token(measured: Sequence[Measured], column: Column, about: str) -> str:
    """A metric of single tokens against their number."""
    return _plot(
        column, _curves(measured, column, lambda one, figure: figure.length), Axis("number of the token"), about
    )


Against = Callable[[Sequence[Measured], Column, str], str]
QUALITY: tuple[Against, ...] = (against_bytes, against_length, against_seconds)
MAIN: dict[Group, Sequence[Against]] = {"pairs": QUALITY, "sets": QUALITY, "probe": (against_length,)}
LESSER: dict[Group, Sequence[Against]] = {
    "colour": (against_length,),
    "codes": (against_length,),
    "token": (against_token,),
    "needed": (against_length,),
    "cost": (against_length,),
    "details": (against_length,),
}


def _seconds(one: Measured, figure: Figure) -> float | None:
    found = [f.value for f in one.result.of(DECODING) if f.length == figure.length]
    return found[0] if found and found[0] > 0 else None


def _curves(
    measured: Sequence[Measured], column: Column, place: Callable[[Measured, Figure], float | None]
) -> list[Curve]:
    curves = []
    for one in measured:
        figures = [f for f in one.result.of(column.metric) if f.network == column.network and f.length is not None]
        placed = [(place(one, figure), figure) for figure in figures]
        points = tuple(_point(figure, x) for x, figure in placed if x)
        curves += [Curve(one.name, one.style, points)] if points else []
    return curves


def _point(figure: Figure, x: float) -> Point:
    return Point(x, figure.value, figure.low, figure.high)


def _plot(column: Column, curves: Sequence[Curve], x: Axis, about: str, wide: bool = False) -> str:
    """A figure with its caption; nothing where no curve has two points."""
    if max((len(curve.points) for curve in curves), default=0) < 2:
        return ""
    name = metric_name(column.metric)
    words = {"higher": ", higher is better", "lower": ", lower is better", "": ""}[name.better]
    title = f"{name.title} against {x.label.partition(' (')[0]}{words}"
    bars = any(point.low is not None for curve in curves for point in curve.points)
    more = " Bars: 95 % intervals over images." if bars else ""
    svg = line_plot(title, curves, x, Axis(name.heading), 3 * WIDTH if wide else WIDTH)
    caption = f"<b>{escape(title)}.</b> {escape(about.rstrip('.') + '.' + more)}"
    return f"<figure{' class=wide-plot' * wide}>{svg}<figcaption>{caption}</figcaption></figure>"
