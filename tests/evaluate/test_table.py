"""The table for the terminal, letter by letter."""

from dataclasses import replace

from openflextok.evaluate.results import Figure, Network, Protocol, Result, Subject
from openflextok.evaluate.table import text_table

PROTOCOL = Protocol("reconstruct", "p", "all", "ab", 3, 3, (32, 32), "c", "b", "r", "0")
FIGURES = (
    Figure("psnr", 12.5, 3, spread=0.25, length=1, bytes=2.0),
    Figure("psnr", 16.789, 3, length=64, bytes=128.0),
    Figure("space-psnr", 23.98, 3),
    Figure("frechet", 812.34, 3, length=64, network=Network("mobilenet-v2", "cd")),
    Figure("lpips-alex", 0.5, 3, length=1, network=Network("lpips-alex", "ef")),
    Figure("token_perplexity", 2.0, 3, length=2),
)
EXPECTED = """\
tokens                           1     64      -
bytes                            2    128
psnr                    12.5 +-0.2  16.79
space-psnr                                 23.98
frechet (mobilenet-v2)              812.3
lpips-alex                     0.5"""


def test_a_row_for_each_metric_and_a_column_for_each_length():
    assert text_table(Result(PROTOCOL, Subject("t", "tokenizer"), FIGURES)) == EXPECTED


def test_without_lengths_one_column_is_left():
    alone = replace(Result(PROTOCOL, Subject("t", "tokenizer"), FIGURES), figures=(Figure("kid", 0.5, 3),))
    assert [line.split() for line in text_table(alone).splitlines()] == [["tokens", "-"], ["kid", "0.5"]]
