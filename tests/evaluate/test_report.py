"""Reports of made-up results, read back from their HTML: what stands in one table, and what must never appear."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from openflextok.evaluate.report import read_measured, report_page
from openflextok.evaluate.results import (
    Figure,
    Network,
    Protocol,
    Result,
    ResultError,
    Setting,
    Subject,
    write_result,
)

A = Protocol(
    "reconstruct", "shop#heldout", "heldout", "ab" * 32, 9, 9, (32, 48), "centre", "bicubic", "8 bits", "0.1.0"
)
B = replace(A, crop="random")
ALEX, OTHER = Network("lpips-alex", "cd" * 32), Network("lpips-alex", "ef" * 32)


def tokenizer(name: str, protocol: Protocol, start: float, steps: int = 20, network: Network = ALEX) -> Result:
    figures: list[Figure] = [Figure("space-psnr", 33.33, 9), Figure("token_perplexity", 7.0, 9, length=2)]
    for place, length in enumerate((1, 2, 4)):
        here = {"length": length, "bytes": 2.0 * length}
        value = start + place
        figures.append(Figure("psnr", value, 9, value - 0.5, value + 0.5, 0.25, **here))
        figures.append(Figure("lpips-alex", 0.5 - place / 10, 9, network=network, **here))
        figures.append(Figure("decode_seconds", 0.125 * length, 9, **here))
        figures.append(Figure("codes_used", 8.0 * length, 9, length=length))
    subject = Subject(name, "tokenizer", "f1f2", (Setting("steps", str(steps)), Setting("guidance", "none")))
    return Result(protocol, subject, tuple(figures), ("Only <nine> images & so on.",))


def codec() -> Result:
    figures = []
    for size, value in ((3.5, 10.5), (7.25, 14.75), (7.5, 11.0)):
        figures += [Figure("psnr", value, 9, bytes=size), Figure("quality", size // 3, 9, bytes=size)]
    return Result(A, Subject("JPEG", "codec", "", (Setting("optimize", "True"),)), tuple(figures))


@dataclass
class Table:
    caption: str = ""
    rows: list[list[str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(cell for row in self.rows for cell in row)


class Page(HTMLParser):
    """Tables, list items, attributes and all text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: list[Table] = []
        self.items: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text, self.open = "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "table":
            self.tables.append(Table())
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in ("td", "th"):
            self.tables[-1].rows[-1].append("")
        elif tag == "li":
            self.items.append("")

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1].rows[-1][-1] += data
        elif "caption" in self.open:
            self.tables[-1].caption += data
        elif "li" in self.open:
            self.items[-1] += data

    def captioned(self, words: str) -> list[Table]:
        return [table for table in self.tables if words in table.caption]


def page_of(folder: Path, **results: Result) -> Page:
    for name, result in results.items():
        write_result(folder / f"{name}.json", result)
    measured, refused = read_measured([folder / f"{name}.json" for name in results])
    assert not refused
    return Page(report_page(measured))


def test_figures_of_one_protocol_stand_in_one_table_with_card_settings_intervals_and_spread(tmp_path):
    page = page_of(tmp_path, x=tokenizer("mini", A, 12.0), y=tokenizer("maxi", A, 20.0, steps=5))
    (table,) = page.captioned("compared one by one")
    assert "9 images of shop#heldout (split heldout), 32 × 48 px" in table.caption
    assert table.rows[0][:3] == ["Tokens", "Bytes", "PSNR (dB) ↑"]
    assert ["2", "4", "13.00 ± 0.25 [12.50, 13.50]"] in [row[:3] for row in table.rows]
    assert ["4", "8", "22.00 ± 0.25 [21.50, 22.50]"] in [row[:3] for row in table.rows]
    subjects = [row[0] for row in table.rows if len(row) == 1]
    assert subjects[0].startswith("mini steps 20, guidance none; tokenizer f1f2; x.json")
    assert any(name.startswith("mini: latent space without tokens") for name in subjects)
    assert ["–", "–", "33.33"] in [row[:3] for row in table.rows]
    assert "mini; maxi: Only <nine> images & so on." in page.items


def test_tables_never_mix_protocols_and_the_report_says_why(tmp_path):
    page = page_of(tmp_path, x=tokenizer("mini", A, 12.0), y=tokenizer("maxi", B, 20.0))
    one, other = page.captioned("compared one by one")
    assert "13.00" in one.text and "21.00" not in one.text and "maxi" not in one.text
    assert "21.00" in other.text and "13.00" not in other.text and "mini" not in other.text
    assert "protocol 2: crop: 'centre' against 'random'" in page.items
    assert "protocol 1: crop: 'random' against 'centre'" in page.items


def test_columns_of_other_weights_are_apart(tmp_path):
    page = page_of(tmp_path, x=tokenizer("mini", A, 12.0), y=tokenizer("maxi", A, 20.0, network=OTHER))
    (table,) = page.captioned("compared one by one")
    heads = [head for head in table.rows[0] if "LPIPS" in head]
    assert heads == ["LPIPS Alex ↓lpips-alex cdcdcdcdcdcd", "LPIPS Alex ↓lpips-alex efefefefefef"]
    first = next(row for row in table.rows if row[0] == "1")
    assert [first[table.rows[0].index(head)] for head in heads] == ["0.500", "–"]


def test_subjects_of_one_name_are_told_apart_by_what_differs(tmp_path):
    results = {"x": tokenizer("mini", A, 12.0), "y": tokenizer("mini", A, 20.0, steps=5)}
    measured = page_of(tmp_path, **results, z=results["x"]).tables[0].rows
    assert [row[0] for row in measured[1:]] == ["mini, steps 20 (x)", "mini, steps 5", "mini, steps 20 (z)"]


def test_codecs_stand_beside_tokenizers_at_no_more_bytes(tmp_path):
    page = page_of(tmp_path, x=tokenizer("mini", A, 12.0), c=codec())
    (table,) = page.captioned("PSNR (dB) ↑ at equal bytes")
    assert table.rows == [
        ["Tokenizer", "Bytes", "Its value", "JPEG, from 3.5 bytes"],
        ["mini, 1 token", "2", "12.00", "none"],
        ["mini, 2 tokens", "4", "13.00", "10.50 [3.5]"],
        ["mini, 4 tokens", "8", "14.00", "14.75 [7.2]"],
    ]
    (begin,) = page.captioned("Where codecs begin")
    assert begin.rows[1:] == [
        ["JPEG", "3.5", "quality setting 1", "10.50"],
        ["mini", "2", "1 token", "12.00"],
    ]


def test_a_row_where_a_codec_begins_is_of_one_point(tmp_path):
    tokens = tokenizer("mini", A, 12.0)
    ssim = (Figure("ssim", value, 9, length=n, bytes=2.0 * n) for n, value in ((1, 0.3), (2, 0.2), (4, 0.1)))
    large = [Figure("psnr", 20.0, 9, bytes=9.0), Figure("ssim", 0.5, 9, bytes=9.0), Figure("quality", 1, 9, bytes=9.0)]
    page = page_of(
        tmp_path, x=replace(tokens, figures=(*tokens.figures, *ssim)), c=replace(codec(), figures=tuple(large))
    )
    (begin,) = page.captioned("Where codecs begin")
    assert begin.rows[2] == ["mini", "8", "4 tokens", "14.00", "0.100"]  # not the 0.300 of 1 token


def test_words_of_the_same_photos_stand_in_their_own_table(tmp_path):
    words = (Figure("word_accuracy@1/8", 0.25, 5, length=4, bytes=8.0), Figure("original-word_accuracy@1/8", 1.0, 5))
    read = Result(A, Subject("mini", "tokenizer", "f1f2", (Setting("words", "found"),)), words)
    page = page_of(tmp_path, x=tokenizer("mini", A, 12.0), c=codec(), w=read)
    (table,) = page.captioned("words and faces")
    assert table.rows[0][2].startswith("Words read right, height from 1/8 ↑") and ["4", "8", "0.250 n 5"] in table.rows
    (begin,) = page.captioned("Where codecs begin")
    assert len(begin.rows) == 3  # nothing of words, which codecs have no figures of


def test_nothing_comes_from_a_network_and_nothing_runs(tmp_path):
    page = page_of(tmp_path, x=tokenizer("mini", A, 12.0), c=codec())
    linked = [(tag, value) for tag, name, value in page.attributes if name in ("src", "href", "xlink:href", "srcset")]
    assert linked and all(value.startswith(("#", "data:image/")) for _, value in linked)
    tags = {tag for tag, _, _ in page.attributes}
    assert not tags & {"script", "link", "iframe", "object", "embed"}
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    policy = [value for _, name, value in page.attributes if name == "content" and "default-src 'none'" in value]
    assert policy


def test_each_metric_is_plotted_against_bytes_tokens_and_seconds(tmp_path):
    page = page_of(tmp_path, x=tokenizer("mini", A, 12.0), c=codec())
    drawn = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    for metric, words in (("PSNR", "higher"), ("LPIPS Alex", "lower")):
        for against in ("bytes of an image, mean", "tokens kept", "decoding, seconds per image"):
            assert f"{metric} against {against}, {words} is better" in drawn
    assert "Decoding time against tokens kept, lower is better" in drawn


def test_pictures_are_in_the_page_byte_for_byte(tmp_path):
    Image.new("RGB", (30, 20), "red").save(tmp_path / "p.webp")
    page = page_of(tmp_path, x=replace(tokenizer("mini", A, 12.0), pictures="p.webp"))
    (source,) = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    head, _, data = source.partition(",")
    assert head == "data:image/webp;base64"
    assert base64.b64decode(data) == (tmp_path / "p.webp").read_bytes()
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (30, 20)


@pytest.mark.parametrize(
    ("name", "why"),
    [("none.webp", "there is no none.webp"), ("../p.webp", "not a file beside"), ("x.json", "x.json is not a picture")],
)
def test_missing_and_foreign_pictures_are_said_to_be_left_out(tmp_path, name, why):
    (tmp_path / "in").mkdir()
    Image.new("RGB", (3, 3)).save(tmp_path / "p.webp")
    page = page_of(tmp_path / "in", x=replace(tokenizer("mini", A, 12.0), pictures=name))
    assert "pictures left out" in page.text and why in page.text
    assert not [tag for tag, _, _ in page.attributes if tag == "img"]


def test_files_that_are_no_results_are_named_and_left_out(tmp_path):
    write_result(tmp_path / "x.json", tokenizer("mini", A, 12.0))
    (tmp_path / "y.json").write_text('{"benchmark": "speed"}')
    measured, (line,) = read_measured([tmp_path / "x.json", tmp_path / "y.json", tmp_path / "x.json"])
    assert len(measured) == 1 and "y.json is not a result" in line and "\n" not in line
    assert any("y.json is not a result" in item for item in Page(report_page(measured, [line])).items)
    with pytest.raises(ResultError, match=r"none of 1 files is a result; the first: .*y\.json"):
        read_measured([tmp_path / "y.json"])
    found, (line,) = read_measured([tmp_path])  # a folder stands for its .json files
    assert [one.path.name for one in found] == ["x.json"] and "y.json is not a result" in line
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultError, match=r"no \.json files there: name files"):
        read_measured([tmp_path / "empty"])
    with pytest.raises(ValueError, match="no results given"):
        read_measured([])


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_never_get_in(tmp_path, number):
    write_result(tmp_path / "x.json", tokenizer("mini", A, 12.0))
    text = (tmp_path / "x.json").read_text()
    (tmp_path / "x.json").write_text(text.replace("33.33", number))
    assert json.loads(text) != json.loads((tmp_path / "x.json").read_text())
    with pytest.raises(ResultError, match="not a finite number"):
        read_measured([tmp_path / "x.json"])


def test_a_whole_subject_without_lengths_has_a_table_and_no_plot(tmp_path):
    figures = (Figure("frechet", 81.25, 9, network=Network("mobilenet-v2", "aa" * 32)), Figure("my-score", 1.5, 9))
    result = Result(replace(A, task="generate"), Subject("gpt", "generator"), figures)
    page = page_of(tmp_path, g=result)
    (table,) = page.captioned("sets of images")
    assert table.rows[0] == ["Frechet distance ↓mobilenet-v2 aaaaaaaaaaaa"] and table.rows[2] == ["81.25"]
    assert "my-score" in page.captioned("one by one")[0].rows[0]
    assert not [tag for tag, _, _ in page.attributes if tag == "svg"]
