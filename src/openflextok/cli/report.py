"""`openflextok report`: results as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def report(
    *results: Path,
    out: Annotated[Path, Parameter(name=("--out", "-o"))] = Path("report.html"),
) -> None:
    """Write tables, plots and pictures of results as one HTML file that needs no other, and no network.

    Figures share a table only where their protocols are equal. Files that are no results are named and left out.

    Parameters
    ----------
    results
        Files that `openflextok evaluate` wrote, or folders of them.
    out
        The HTML file to write.
    """
    import sys

    from openflextok.cli.outputs import check_file
    from openflextok.evaluate.report import read_measured, report_page
    from openflextok.evaluate.report.page import plural
    from openflextok.files import write_atomic

    check_file(out, ".html", results)
    measured, refused = read_measured(results)
    for line in refused:
        print(f"left out: {line}", file=sys.stderr)
    write_atomic(out, report_page(measured, refused))
    protocols = len({one.result.protocol for one in measured})
    print(f"{plural(len(measured), 'result')} under {plural(protocols, 'protocol')} in {out}")
