"""Makes `evaluate_helpers` and the small generators importable from the tests of this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "generators"))
from evaluate_helpers import pictures, quarters_network  # noqa: F401
from small_generators import encoder_folder  # noqa: F401
