"""A result as a table for the terminal: a row per metric, a column per length."""

from __future__ import annotations

from openflextok.evaluate.results import Figure, Result

APART = ("token_",)  # one figure for each token: too many for a table


def text_table(result: Result) -> str:
    """Rows aligned for a terminal; figures without a length stand in the last column, "-"."""
    shown = [figure for figure in result.figures if not figure.metric.startswith(APART)]
    cells: dict[str, dict[int | None, Figure]] = {}
    for figure in shown:
        cells.setdefault(row_name(figure), {})[figure.length] = figure
    found = {figure.length for figure in shown}
    lengths: list[int | None] = [*sorted(length for length in found if length is not None), *({None} & found)]
    rows = [["tokens", *("-" if length is None else str(length) for length in lengths)]]
    sizes = {figure.length: figure.bytes for figure in shown if figure.bytes is not None}
    if sizes:
        rows.append(["bytes", *(f"{sizes[length]:g}" if length in sizes else "" for length in lengths)])
    rows += [[name, *(number(row.get(length)) for length in lengths)] for name, row in cells.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ([cell.rjust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    names = (row[0].ljust(widths[0]) for row in rows)
    return "\n".join("  ".join([name, *line[1:]]).rstrip() for name, line in zip(names, lines, strict=True))


def row_name(figure: Figure) -> str:
    """The metric with its feature network, where its name does not say it."""
    network = figure.network.name if figure.network else figure.metric
    return figure.metric if network in figure.metric else f"{figure.metric} ({network})"


def number(figure: Figure | None) -> str:
    """Four digits, and the spread over seeds."""
    if figure is None:
        return ""
    return f"{figure.value:.4g}" + (f" +-{figure.spread:.1g}" if figure.spread else "")
