"""A result as a table for the terminal: a row per length, a column per metric."""

from __future__ import annotations

from openflextok.evaluate.results import Figure, Result

APART = ("token_",)  # one figure for each token: too many for a table


def text_table(result: Result) -> str:
    """Columns aligned for a terminal; figures without a length stand in rows of their own names."""
    shown = [figure for figure in result.figures if not figure.metric.startswith(APART)]
    byte: dict[int | None, float | None] = {}
    columns: dict[str, dict[int | None, Figure]] = {}
    for figure in shown:
        columns.setdefault(column(figure), {})[figure.length] = figure
        byte[figure.length] = byte.get(figure.length) or figure.bytes
    lengths = sorted(length for length in byte if length is not None)
    rows = [["tokens", "bytes", *(name for name, cells in columns.items() if set(cells) != {None})]]
    for length in lengths:
        cells = [columns[name].get(length) for name in rows[0][2:]]
        size = byte[length]
        rows.append([str(length), "" if size is None else f"{size:g}", *(number(cell) for cell in cells)])
    widths = [max(map(len, column_)) for column_ in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    alone = [f"{name}: {number(cells[None])}" for name, cells in columns.items() if None in cells]
    return "\n".join([*(lines if lengths else []), *alone])


def column(figure: Figure) -> str:
    """The metric with its feature network, where its name does not say it."""
    network = figure.network.name if figure.network else figure.metric
    return figure.metric if network in figure.metric else f"{figure.metric} ({network})"


def number(figure: Figure | None) -> str:
    """Four digits, and the spread over seeds."""
    if figure is None:
        return ""
    return f"{figure.value:.4g}" + (f" +-{figure.spread:.1g}" if figure.spread else "")
