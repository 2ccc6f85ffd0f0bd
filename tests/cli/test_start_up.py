"""Help and import are quick, because heavy imports wait for their use."""

import inspect
import json
import os
import re
import subprocess
import sys

from openflextok.cli.train import train
from openflextok.recipes import RECIPES

SCRIPT = """
import json, sys, time
import torch
start = time.perf_counter()
import openflextok
light = time.perf_counter() - start
start = time.perf_counter()
openflextok.load, openflextok.CFG, openflextok.Tokenizer
print(json.dumps({"import": light, "all": time.perf_counter() - start}))
"""


def best(command: list[str], repeats: int = 3) -> tuple[float, str]:
    import time

    seconds, text = [], ""
    for _ in range(repeats):
        start = time.perf_counter()
        text = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
        seconds.append(time.perf_counter() - start)
    return min(seconds), text


def test_help_takes_under_a_second() -> None:
    seconds, text = best([sys.executable, "-m", "openflextok", "--help"])
    assert "train" in text and "demo" in text
    assert seconds < 1.0


def test_help_does_not_import_torch() -> None:
    code = "import sys; import openflextok.cli.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_import_takes_little_beyond_torch() -> None:
    _, text = best([sys.executable, "-c", SCRIPT])
    times = json.loads(text)
    assert times["import"] + times["all"] < 1.5


def test_every_command_explains_itself() -> None:
    for name in ("demo", "encode", "decode", "tokenize", "reconstruct", "evaluate", "train", "info", "data"):
        _, text = best([sys.executable, "-m", "openflextok", name, "--help"], 1)
        assert "Usage" in text and len(text) > 200, name


def test_the_help_of_train_names_every_recipe() -> None:
    named = re.findall(r"[\w-]+", inspect.getdoc(train) or "")
    assert not RECIPES.keys() - set(named)
