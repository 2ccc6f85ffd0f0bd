"""A report of results: one HTML file with tables, plots and pictures, grouped by protocol.

results/*.json -> read_measured -> groups of one protocol -> tables, curves, codecs, pictures -> page
"""

from openflextok.evaluate.report.page import report_page
from openflextok.evaluate.report.reading import Measured, read_measured

__all__ = ["Measured", "read_measured", "report_page"]
