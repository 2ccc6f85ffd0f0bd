"""Tokenizers beside codecs at equal bytes, and what a tokenizer gives where a codec begins."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from openflextok.evaluate.fronts import best_within, settings_of, sized
from openflextok.evaluate.metric_names import metric_name
from openflextok.evaluate.report.reading import Column, Measured, columns_of
from openflextok.evaluate.report.tables import BETTER, bytes_text, protocol_line
from openflextok.evaluate.results import Figure, Protocol

RULE = (
    "At each number of bytes of a tokenizer: the best point of each codec, over its qualities and picture sizes, that "
    "needs no more bytes, and in brackets the bytes that it needs; none where the codec cannot make so small a file. Bytes of codecs are whole files; those of tokens are the "
    "bits of their ids, without a header."
)


def beside_codecs(measured: Sequence[Measured], protocol: Protocol, number: int) -> str:
    """The comparison of a group; nothing where it has no codec, or nothing to set beside one."""
    codecs = [one for one in measured if one.result.subject.kind == "codec"]
    columns = [column for column in columns_of(codecs) if metric_name(column.metric).better]
    others = [
        one
        for one in measured
        if one.result.subject.kind == "tokenizer" and any(sized(one.result, c.metric, c.network) for c in columns)
    ]
    tables = [_equal_bytes(others, codecs, column, protocol, number) for column in columns]
    tables += [_beginnings(others, codecs, columns, protocol, number)] if columns else []
    shown = "".join(tables)
    return f"<h3>Beside codecs</h3><p>{RULE}</p>{shown}" if codecs and others and shown else ""


def _equal_bytes(
    others: Sequence[Measured], codecs: Sequence[Measured], column: Column, protocol: Protocol, number: int
) -> str:
    name = metric_name(column.metric)
    title = f"{name.heading}{BETTER[name.better]} at equal bytes."
    rows = []
    for one in others:
        for figure in sized(one.result, column.metric, column.network):
            cells = "".join(_codec_cell(codec, column, figure.bytes or 0.0) for codec in codecs)
            rows.append(
                f'<tr><th scope="row">{escape(one.name)}, {_length(figure)}</th><td>{bytes_text(figure.bytes or 0.0)}</td>'
                f"<td>{name.text(figure.value)}</td>{cells}</tr>"
            )
    heads = ["Tokenizer", "Bytes", "Its value", *(_codec_head(codec, column) for codec in codecs)]
    return _table(title, heads, rows, protocol, number)


def _codec_head(codec: Measured, column: Column) -> str:
    """A codec and the mean size of its smallest files."""
    smallest = sized(codec.result, column.metric, column.network)[:1]
    return codec.name + "".join(f", from {bytes_text(figure.bytes or 0.0)} bytes" for figure in smallest)


def _codec_cell(codec: Measured, column: Column, most: float) -> str:
    best = best_within(sized(codec.result, column.metric, column.network), most)
    if best is None:
        return '<td class="none">none</td>'
    return f"<td>{metric_name(column.metric).text(best.value)} <small>[{bytes_text(best.bytes or 0.0)}]</small></td>"


def _beginnings(
    others: Sequence[Measured], codecs: Sequence[Measured], columns: Sequence[Column], protocol: Protocol, number: int
) -> str:
    """A row per codec at its smallest file, and below it a row per tokenizer with no more bytes.

    A row is one point: the best of the first metric.
    """
    rows = []
    for codec in codecs:
        smallest = sized(codec.result, columns[0].metric, columns[0].network)[:1]
        for first in smallest:
            rows.append(_at_most(codec, codec.name, columns, first.bytes or 0.0, "subject"))
            rows += [_at_most(one, one.name, columns, first.bytes or 0.0, "") for one in others]
    heads = ["Smallest file of a codec, and tokenizers", "Bytes", "Made with"]
    heads += [metric_name(c.metric).heading + BETTER[metric_name(c.metric).better] for c in columns]
    return _table("Where codecs begin, and tokenizers with no more bytes.", heads, rows, protocol, number)


def _at_most(one: Measured, name: str, columns: Sequence[Column], most: float, style: str) -> str:
    best = [best_within(sized(one.result, c.metric, c.network), most) for c in columns]
    first = next((figure for figure in best if figure is not None), None)
    if first is None:
        blank = "<td>–</td>" * (len(columns) + 1)
        return f'<tr><th scope="row">{escape(name)}</th><td class="none">none so small</td>{blank}</tr>'
    found = [_at_point(one, c, first) for c in columns]
    cells = "".join(f"<td>{metric_name(f.metric).text(f.value) if f else '–'}</td>" for f in found)
    return (
        f'<tr class="{style}"><th scope="row">{escape(name)}</th><td>{bytes_text(first.bytes or 0.0)}</td>'
        f'<td class="text">{escape(_made_with(one, first))}</td>{cells}</tr>'
    )


def _at_point(one: Measured, column: Column, point: Figure) -> Figure | None:
    """The figure of another metric at the very point of one."""
    made_with = _made_with(one, point)
    figures = [f for f in sized(one.result, column.metric, column.network) if f.bytes == point.bytes]
    return next((figure for figure in figures if _made_with(one, figure) == made_with), None)


def _made_with(one: Measured, figure: Figure) -> str:
    """The settings of a point: its length, or what its codec was asked for."""
    if figure.length is not None:
        return _length(figure)
    settings = [(metric_name(f.metric), f.value) for f in settings_of(one.result, figure)]
    return ", ".join(f"{name.heading.lower()} {name.text(value)}" for name, value in settings)


def _length(figure: Figure) -> str:
    return f"{figure.length} token{'' if figure.length == 1 else 's'}"


def _table(title: str, heads: Sequence[str], rows: Sequence[str], protocol: Protocol, number: int) -> str:
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    caption = f"<b>{escape(title)}</b> Protocol {number}: {escape(protocol_line(protocol))}"
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="wide"><table class="rows"><caption>{caption}</caption>{body}</table></div>'
