"""The best of a codec at a number of bytes, against a search over all its points."""

import random

from openflextok.evaluate.fronts import best_within, front, settings_of, sized
from openflextok.evaluate.results import Figure, Network, Protocol, Result, Subject

PROTOCOL = Protocol("reconstruct", "p", "all", "0" * 64, 1, 1, (8, 8), "c", "r", "8", "0")


def points(metric: str, seed: int) -> Result:
    draw = random.Random(seed)
    figures = [Figure(metric, draw.random(), 1, bytes=float(size)) for size in draw.sample(range(1, 100), 20)]
    return Result(PROTOCOL, Subject("x", "codec"), tuple(figures))


def test_best_within_finds_what_a_search_finds():
    for metric, best in (("psnr", max), ("lpips-alex", min)):
        for seed in range(5):
            figures = sized(points(metric, seed), metric)
            for most in range(0, 100, 7):
                small = [figure.value for figure in figures if figure.bytes <= most]
                found = best_within(figures, most)
                assert (None if found is None else found.value) == (best(small) if small else None)


def test_a_front_gets_better_with_every_byte_and_other_metrics_keep_all():
    values = [figure.value for figure in front(sized(points("ssim", 1), "ssim"))]
    assert values == sorted(set(values)) and len(values) < 20
    assert len(front(sized(points("unheard-of", 1), "unheard-of"))) == 20


def test_settings_are_those_of_the_point_where_two_have_equal_bytes():
    figures = []
    for quality, value in ((10, 20.0), (20, 25.0), (30, 22.0)):
        figures += [Figure("quality", quality, 1, bytes=7.0), Figure("psnr", value, 1, bytes=7.0)]
    result = Result(PROTOCOL, Subject("x", "codec"), tuple(figures))
    best = best_within(sized(result, "psnr"), 7.0)
    assert best is not None and [(f.metric, f.value) for f in settings_of(result, best)] == [("quality", 20)]


def test_figures_of_another_network_are_another_metric():
    network = Network("alex", "ab" * 32)
    figures = (Figure("lpips-alex", 0.5, 1, bytes=4.0, network=network), Figure("lpips-alex", 0.1, 1, bytes=2.0))
    result = Result(PROTOCOL, Subject("x", "codec"), figures)
    assert sized(result, "lpips-alex", network) == figures[:1]
