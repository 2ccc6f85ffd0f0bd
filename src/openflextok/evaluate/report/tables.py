"""Tables of a report as HTML: a row per point of a curve, a column per metric and network, a body per subject."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html import escape

from openflextok.evaluate.metric_names import Group, metric_name
from openflextok.evaluate.report.reading import Column, Measured, columns_of
from openflextok.evaluate.results import Figure, Protocol, differences

BETTER = {"higher": " ↑", "lower": " ↓", "": ""}
TASKS = {
    "reconstruct": "images rebuilt and compared with themselves",
    "generate": "new images compared with a reference set",
    "probe": "classes read off the first tokens by a linear classifier",
}
HASHED = {"probe": "Names and labels"}
SHORT_HASH = 12
FAMILIES: dict[str, tuple[Group, ...]] = {
    "images compared one by one": ("pairs", "cost", "setting"),
    "colours": ("colour",),
    "words and faces": ("details",),
    "classes": ("probe",),
    "sets of images": ("sets",),
    "codes and bits": ("codes",),
    "single tokens, by their number": ("token",),
    "tokens needed for a target": ("needed",),
}
MOST_ROWS = 48  # a longer table is folded away until it is asked for


def protocol_line(protocol: Protocol) -> str:
    """A protocol in one line, for captions."""
    height, width = protocol.image_size
    counted = f"{protocol.images} images"
    if protocol.task == "generate":
        counted += f" against {protocol.reference_images}"
    return (
        f"{TASKS[protocol.task]}; {counted} of {protocol.reference} (split {protocol.split}), {height} × {width} px, "
        f"reference {protocol.reference_sha256[:SHORT_HASH]}"
    )


def protocol_card(protocol: Protocol) -> str:
    """All of a protocol in words."""
    height, width = protocol.image_size
    rows = {
        "What": TASKS[protocol.task],
        "Reference": f"{protocol.reference}, split {protocol.split}, {protocol.reference_images} images",
        HASHED.get(protocol.task, "Its pixels"): f"SHA-256 {protocol.reference_sha256}",
        "Measured": f"{protocol.images} images",
        "Size": f"{height} × {width} px, height × width",
        "Crop": protocol.crop,
        "Resizing": protocol.resize_filter,
        "Rounding": protocol.rounding,
        "Code": f"openflextok {protocol.code}",
    }
    body = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows.items())
    return f'<dl class="card">{body}</dl>'


def apart(protocols: Sequence[Protocol], place: int) -> str:
    """Why figures of one group are not comparable with those of each other one, a line each."""
    lines = [
        f"<li>protocol {number}: {escape(_differing(protocols[place], other))}</li>"
        for number, other in enumerate(protocols, 1)
        if other != protocols[place]
    ]
    return f"<p>Not comparable (this one against the other) with</p><ul>{''.join(lines)}</ul>" if lines else ""


def _differing(protocol: Protocol, other: Protocol) -> str:
    lines = (re.sub(r"([0-9a-f]{12})[0-9a-f]{52}", r"\1…", line) for line in differences(protocol, other))
    return "; ".join(line.replace("_", " ", 1) for line in lines)


def figure_tables(measured: Sequence[Measured], protocol: Protocol, number: int, title: str) -> str:
    """The tables of a kind of subjects, one for each family of metrics."""
    tables = ""
    for family, groups in FAMILIES.items():
        part = only(measured, groups)
        tables += _table(part, protocol, number, f"{title}: {family}.") if part else ""
    return tables


def only(measured: Sequence[Measured], groups: Sequence[Group]) -> list[Measured]:
    """Results with nothing but figures of these groups; those without any are left out."""
    kept = []
    for one in measured:
        figures = tuple(figure for figure in one.result.figures if metric_name(figure.metric).group in groups)
        kept += [replace(one, result=replace(one.result, figures=figures))] if figures else []
    return kept


def _table(measured: Sequence[Measured], protocol: Protocol, number: int, title: str) -> str:
    """One table: a body per subject, below its name and settings."""
    columns = columns_of(measured)
    places = [name for name, has in (("Tokens", _lengths(measured)), ("Bytes", _sizes(measured))) if has]
    head = "".join(f'<th scope="col">{name}</th>' for name in places) + "".join(_heading(c) for c in columns)
    bodies = "".join(_body(one, columns, places) for one in measured)
    caption = f"<b>{escape(title)}</b> Protocol {number}: {escape(protocol_line(protocol))}"
    table = f'<div class="wide"><table><caption>{caption}</caption><thead><tr>{head}</tr></thead>{bodies}</table></div>'
    rows = sum(len(points_of(one)) for one in measured)
    if rows <= MOST_ROWS:
        return table
    return f"<details><summary>{escape(title)} {rows} rows</summary>{table}</details>"


def _lengths(measured: Sequence[Measured]) -> bool:
    return any(figure.length is not None for one in measured for figure in one.result.figures)


def _sizes(measured: Sequence[Measured]) -> bool:
    return any(figure.bytes is not None for one in measured for figure in one.result.figures)


def _heading(column: Column) -> str:
    name = metric_name(column.metric)
    network = ""
    if column.network is not None:
        network = f"<small>{escape(column.network.name)} {escape(column.network.sha256[:SHORT_HASH])}</small>"
    return f'<th scope="col">{escape(name.heading)}{BETTER[name.better]}{network}</th>'


def _body(one: Measured, columns: Sequence[Column], places: Sequence[str]) -> str:
    subject = one.result.subject
    about = [one.settings, f"tokenizer {subject.fingerprint}" if subject.fingerprint else "", one.path.name]
    words = f"<b>{escape(one.name)}</b> <small>{escape('; '.join(part for part in about if part))}</small>"
    span = len(columns) + len(places)
    rows = "".join(_row(point, figures, columns, places, one) for point, figures in points_of(one).items())
    return f'<tbody><tr><th class="subject" scope="rowgroup" colspan="{span}">{words}</th></tr>{rows}</tbody>'


def points_of(one: Measured) -> dict[tuple[int | None, float | None], list[Figure]]:
    """The figures of each point of a curve: of one length, or else of one number of bytes; smallest first."""
    points: dict[tuple[int | None, float | None], list[Figure]] = {}
    sizes = {figure.length: figure.bytes for figure in one.result.figures if figure.bytes is not None}
    for figure in sorted(one.result.figures, key=lambda figure: (figure.length or 0, figure.bytes or 0.0)):
        size = figure.bytes if figure.length is None else sizes.get(figure.length)
        points.setdefault((figure.length, size), []).append(figure)
    return points


def _row(
    point: tuple[int | None, float | None],
    figures: Sequence[Figure],
    columns: Sequence[Column],
    places: Sequence[str],
    one: Measured,
) -> str:
    texts = {"Tokens": str(point[0] or "–"), "Bytes": "–" if point[1] is None else bytes_text(point[1])}
    cells = "".join(f"<td>{texts[name]}</td>" for name in places)
    for column in columns:
        found = [f for f in figures if (f.metric, f.network) == (column.metric, column.network)]
        cells += f"<td>{'<br>'.join(_value(figure, one.result.protocol.images) for figure in found) or '–'}</td>"
    return f"<tr>{cells}</tr>"


def _value(figure: Figure, images: int) -> str:
    """A number with its interval, its spread, and its images where these are not those of the protocol."""
    name = metric_name(figure.metric)
    text = name.text(figure.value)
    if figure.spread is not None:
        text += f" <small>± {name.text(figure.spread)}</small>"
    if figure.low is not None and figure.high is not None:
        text += f" <small>[{name.text(figure.low)}, {name.text(figure.high)}]</small>"
    if figure.images != images:
        text += f" <small>n {figure.images}</small>"
    return text


def bytes_text(size: float) -> str:
    """'64', '312.4', '1,204'."""
    return f"{size:,.0f}" if size >= 1000 or size == int(size) else f"{size:.1f}"


def notes(measured: Sequence[Measured]) -> str:
    """What readers must know of figures; a note that several results share stands once."""
    names: dict[str, list[str]] = {}
    for one in measured:
        for note in one.result.notes:
            names.setdefault(note, []).append(one.name)
    items = [f"<li><b>{escape('; '.join(of))}:</b> {escape(note)}</li>" for note, of in names.items()]
    return f"<h3>Notes</h3><ul>{''.join(items)}</ul>" if items else ""
