"""Makes `conftest_train` importable from the tests of this folder, and its pictures a fixture of theirs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from conftest_train import pictures  # noqa: F401
