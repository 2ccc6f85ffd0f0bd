"""The whole page: overview, then a section per protocol."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

import openflextok
from openflextok.evaluate.report.codecs import beside_codecs
from openflextok.evaluate.report.curves import plots
from openflextok.evaluate.report.pictures import picture
from openflextok.evaluate.report.reading import KINDS, Measured, by_protocol
from openflextok.evaluate.report.tables import apart, figure_tables, notes, protocol_card
from openflextok.evaluate.results import Protocol

PAGE = Path(__file__).with_name("page.html")


def report_page(measured: Sequence[Measured], refused: Sequence[str] = ()) -> str:
    """One HTML page that needs no other file: figures stand in one table only where their protocols are equal."""
    groups = by_protocol(measured)
    protocols = list(groups)
    sections = [_section(groups[protocol], protocols, number) for number, protocol in enumerate(protocols)]
    return Template(PAGE.read_text()).substitute(
        version=openflextok.__version__, overview=_overview(groups) + _refusals(refused), sections="\n".join(sections)
    )


def _overview(groups: dict[Protocol, list[Measured]]) -> str:
    count = sum(len(group) for group in groups.values())
    rows = "".join(
        f"<tr><td>{escape(one.name)}</td><td>{one.result.subject.kind}</td><td>{escape(one.path.name)}</td>"
        f'<td><a href="#protocol-{number}">{number}: {protocol.task}, {escape(protocol.reference)}</a></td></tr>'
        for number, (protocol, group) in enumerate(groups.items(), 1)
        for one in group
    )
    words = f"{plural(count, 'result')} under {plural(len(groups), 'protocol')}."
    head = "<thead><tr><th>Subject</th><th>Kind</th><th>File</th><th>Protocol</th></tr></thead>"
    return f'<p>{words}</p><div class="wide"><table class="words">{head}<tbody>{rows}</tbody></table></div>'


def plural(count: int, noun: str) -> str:
    """'1 result', '2 results'."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _refusals(refused: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in refused)
    return f"<p>Files left out:</p><ul>{items}</ul>" if refused else ""


def _section(measured: Sequence[Measured], protocols: Sequence[Protocol], place: int) -> str:
    protocol, number = protocols[place], place + 1
    height, width = protocol.image_size
    title = f"{number}. {protocol.task.capitalize()}: {protocol.reference}, {height} × {width} px"
    arms = [arm for one in measured for arm in one.arms()]
    kinds = [(words, [one for one in arms if one.result.subject.kind == kind]) for kind, words in KINDS.items()]
    images = "".join(picture(one) for one in measured)
    parts = [
        f'<section id="protocol-{number}"><h2>{escape(title)}</h2>',
        protocol_card(protocol),
        apart(protocols, place),
        notes(measured),
        plots(arms, protocol, number),
        *(figure_tables(group, protocol, number, words) for words, group in kinds if group),
        beside_codecs(measured, protocol, number),
        f"<h3>Pictures</h3>{images}" if images else "",
        "</section>",
    ]
    return "\n".join(part for part in parts if part)
