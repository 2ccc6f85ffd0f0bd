"""The small text encoder of the generators' tests, for those of this folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "generators"))
from small_generators import encoder_folder  # noqa: F401
