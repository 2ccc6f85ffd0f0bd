"""Ray gives the bytes of the local engine, also when one of its workers is killed in the middle."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from token_set_helpers import command, environment

pytest.importorskip("ray", reason="Ray is not installed: pip install -c constraints.txt -e '.[ray]'")


def descendants(process: int, title: str) -> list[int]:
    """Processes below `process` whose command line begins with `title`."""
    parents, found = {}, []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if (entry / "cmdline").read_text().startswith(title):
                found.append(int(entry.name))
        except (OSError, UnicodeDecodeError):
            continue

    def below(child: int) -> bool:
        return child == process or (child in parents and below(parents[child]))

    return [child for child in found if below(child)]


def test_a_killed_worker_changes_nothing(run, contents, pictures: Path, checkpoint: Path, tmp_path: Path) -> None:
    options = ("--tokenizer", checkpoint, "--crops", 100, "--shard-size", 1, "--batch-size", 4)
    run("tokenize", pictures, *options, "--out", tmp_path / "local")
    out = tmp_path / "ray"
    process = subprocess.Popen(
        command("tokenize", pictures, *options, "--out", out, "--engine", "ray", "--workers", 2),
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 180
    while len(list(out.glob("shard-*"))) < 3:
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    workers = descendants(process.pid, "ray::MapWorker")
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    assert len(list(out.glob("shard-*"))) < 20  # it was in the middle
    text, _ = process.communicate(timeout=100)
    assert process.returncode == 0, text
    assert contents(out) == contents(tmp_path / "local")
    assert "nothing to do" in run("tokenize", pictures, *options, "--out", out, "--engine", "ray")
