"""A job killed at any moment and started again ends with the bytes of an unbroken one: every picture exactly once."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from token_set_helpers import BROKEN, PICTURES, command, environment

from openflextok.token_sets.reader import open_token_set, read_manifest

KILLS = 20
DRIVER = """
import contextlib, json, os, random, shutil, signal, sys, time
from pathlib import Path
from openflextok.cli.tokenize import tokenize

data, tokenizer, root = sys.argv[1:4]
options = dict(tokenizer=tokenizer, crops=2, shard_size=2, batch_size=3, threads=2)

def job(out, before=lambda: None):
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        try:
            before()
            tokenize(data, out=Path(out), **options)
        except BaseException:
            os._exit(3)
        os._exit(0)
    return child

def contents(out):
    return {p.name: p.read_bytes() for p in Path(out).iterdir() if p.name != ".lock"}

with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
    tokenize(data, out=Path(root + "/warm"), **options)  # children are forked with everything imported
start = time.perf_counter()
assert os.waitpid(job(root + "/unbroken"), 0)[1] == 0
seconds = time.perf_counter() - start
expected = contents(root + "/unbroken")

def finished_right(out):
    found = contents(out)
    assert found == expected, (sorted(found), [n for n in expected if found.get(n) != expected[n]])

seed = random.SystemRandom().randrange(10**6)
random.seed(seed)
kills, whole, left = 0, 0, set()
broken = root + "/broken"
def shards():
    return len(list(Path(broken).glob("shard-*"))) if os.path.isdir(broken) else 0

while kills < int(sys.argv[4]):
    goal = random.randint(shards(), 11)
    child = job(broken)
    while shards() < goal:
        time.sleep(1e-3)
    time.sleep(random.uniform(0, seconds / 10))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if os.path.exists(broken + "/manifest.json"):
        finished_right(broken)
        shutil.rmtree(broken)
        whole += 1
    else:
        kills += 1
        left.add(shards())
        if shards() == 11 and random.random() < 0.5:  # or all later ones would be killed at the end
            shutil.rmtree(broken)
assert os.waitpid(job(broken), 0)[1] == 0, seed
finished_right(broken)
print(json.dumps({"seed": seed, "kills": kills, "finished between": whole, "shards at a kill": sorted(left)}))

def die_at(call, after):
    def install():
        real, calls = os.replace, iter(range(10**6))
        def replace(*arguments):
            if next(calls) == call:
                if after:
                    real(*arguments)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)
        os.replace = replace
    return install

at_renames, call = root + "/renames", 0
for after in (False, True):
    for call in range(14):  # job, 11 shards, spot check, manifest
        shutil.rmtree(at_renames, ignore_errors=True)
        status = os.waitpid(job(at_renames, die_at(call, after)), 0)[1]
        assert os.WIFSIGNALED(status), (call, status)
        assert os.waitpid(job(at_renames), 0)[1] == 0, call
        finished_right(at_renames)
assert os.waitpid(job(root + "/none", die_at(14, False)), 0)[1] == 0  # there is no further file
"""


def test_killed_at_twenty_random_moments_and_at_every_rename(
    pictures: Path, checkpoint: Path, contents, tmp_path: Path
) -> None:
    arguments = [sys.executable, "-c", DRIVER, str(pictures), str(checkpoint), str(tmp_path), str(KILLS)]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment(), timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["kills"] == KILLS and len(report["shards at a kill"]) > 2, report
    once_each(tmp_path / "broken")


def once_each(out: Path) -> None:
    tokens = open_token_set(out)
    rows = [(tokens.key(row), tokens.crop(row)) for row in range(len(tokens))]
    assert rows == [(f"{i:02}.png", crop) for i in range(PICTURES) if i not in BROKEN for crop in range(2)]
    assert [found.index for found in read_manifest(out).unreadable] == list(BROKEN)


@pytest.mark.parametrize("shards", [2, 9])
def test_the_killed_command_goes_on(
    shards: int, run, contents, pictures: Path, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "broken"
    options = ("--tokenizer", checkpoint, "--crops", 2, "--shard-size", 2, "--batch-size", 3)
    arguments = ("tokenize", pictures, *options, "--out", out)
    process = subprocess.Popen(command(*arguments), env=environment(), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(out.glob("shard-*"))) < shards:
        assert time.monotonic() < deadline and process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "manifest.json").exists()
    half = ".shard-000010.safetensors.tmp-{}-{}-01234567"
    gone = out / half.format(socket.gethostname(), process.pid)
    living = [out / half.format(socket.gethostname(), os.getpid()), out / half.format("another-machine", process.pid)]
    for path in (gone, *living):
        path.mkdir()
        (path / ".tmpTcfcOB").write_bytes(b"half, under safetensors' own name for what it has begun")
    assert "of 11 shards are there already" in run(*arguments)
    shutil.copytree(out, tmp_path / "copy")
    assert {path for path in out.glob(".*") if path.name != ".lock"} == set(living)
    once_each(tmp_path / "copy")


def test_a_damaged_shard_stops_the_restart(tokenize, tmp_path: Path) -> None:
    """And made again after it was deleted, the set is what it was."""
    out = tokenize(tmp_path / "set", shard_size=5)
    path = out / "shard-000001.safetensors"
    whole = path.read_bytes()
    (out / "manifest.json").unlink()
    path.write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=r"shard-000001.safetensors is truncated \(\d+ of \d+ bytes\): copy it again"):
        tokenize(out, shard_size=5)
    path.unlink()
    tokenize(out, shard_size=5)
    assert path.read_bytes() == whole
