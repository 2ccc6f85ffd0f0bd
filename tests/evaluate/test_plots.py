"""Plots are well-formed SVG whose marks stand where the data say."""

import math
import re
from xml.etree import ElementTree

import pytest

from openflextok.evaluate.plots import COLOURS, Axis, Curve, Point, legend, line_plot, ticks_between

NAME = 'a & "b" <c>'


def marks(svg: str) -> list[tuple[float, float]]:
    """Places of the markers, in pixels."""
    ElementTree.fromstring(svg)  # raises unless well-formed
    found = re.findall(r'<g transform="translate\(([\d.]+) ([\d.]+)\)"', svg)
    return [(float(x), float(y)) for x, y in found]


def test_equal_factors_are_equal_ways_on_a_logarithmic_axis():
    points = tuple(Point(2.0**k, float(k)) for k in range(5))
    svg = line_plot("t", [Curve(NAME, 0, points)], Axis("bytes", log=True), Axis("PSNR (dB)"))
    places = marks(svg)
    steps = [b[0] - a[0] for a, b in zip(places, places[1:], strict=False)]
    assert max(steps) - min(steps) <= 0.21 and min(steps) > 20  # rounded to a tenth of a pixel
    assert [y for _, y in places] == sorted((y for _, y in places), reverse=True)
    texts = [text.text for text in ElementTree.fromstring(svg).iter() if text.tag == "text"]
    assert "PSNR (dB)" in texts and "bytes" in texts


def test_everything_drawn_lies_inside_also_bars_and_single_values():
    curves = [Curve("x", 3, (Point(1, 5, 2, 30),), (Point(3, -4),)), Curve("y", 9, (Point(2, 5),))]
    svg = line_plot("t", curves, Axis("x"), Axis("y"))
    _, _, width, height = map(float, ElementTree.fromstring(svg).attrib["viewBox"].split())
    xs = [float(v) for v in re.findall(r'(?:x[12]|cx)="([-\d.]+)"', svg)]
    ys = [float(v) for v in re.findall(r'(?:y[12]|cy)="([-\d.]+)"', svg)]
    assert min(xs) >= 0 and max(xs) <= width and min(ys) >= 0 and max(ys) <= height
    assert "nan" not in svg.lower()
    assert marks(line_plot("t", [Curve("x", 0, (Point(4, 0.0),))], Axis("x"), Axis("y")))


def test_styles_differ_by_more_than_colour():
    keys = [legend([(NAME, style)]) for style in range(2 * len(COLOURS))]
    grey = [re.sub(r"#[0-9a-f]{6}", "", key) for key in keys]
    assert len(set(keys)) == len(keys) and len(set(grey)) >= 10
    assert "&amp;" in keys[0] and "<c>" not in keys[0]


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0])
def test_values_that_an_axis_cannot_show_are_refused(value):
    with pytest.raises(ValueError, match="cannot draw"):
        line_plot("t", [Curve("x", 0, (Point(value, 1.0), Point(2.0, 1.0)))], Axis("x", log=True), Axis("y"))


@pytest.mark.parametrize(("low", "high"), [(0.0021, 0.0029), (11.8, 17.2), (-8.0, 1.0), (1300, 1480), (0.0, 1.0)])
def test_linear_ticks_are_few_round_and_inside(low, high):
    ticks = ticks_between(low, high, log=False)
    assert 2 <= len(ticks) <= 8 and low <= min(ticks) and max(ticks) <= high
    step = ticks[1] - ticks[0]
    assert round(step / 10 ** math.floor(math.log10(step) + 1e-9)) in (1, 2, 5, 10)


@pytest.mark.parametrize(("low", "high"), [(2, 128), (1.9, 9000), (300, 420), (0.01, 0.013)])
def test_logarithmic_ticks_lie_inside(low, high):
    ticks = ticks_between(low, high, log=True)
    assert 2 <= len(ticks) <= 10 and low <= min(ticks) * (1 + 1e-9) and max(ticks) <= high * (1 + 1e-9)
