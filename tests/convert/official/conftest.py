"""Makes `parity` importable from the tests of this folder, and its cases a fixture of theirs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from parity import case  # noqa: F401
