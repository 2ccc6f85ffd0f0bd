"""Makes `small_generators` importable from the tests of this folder, and its text encoder a fixture of theirs."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from small_generators import encoder_folder  # noqa: F401
