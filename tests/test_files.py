"""Files and folders are written whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from openflextok.files import atomic_file, atomic_folder, write_atomic


class Stop(Exception):
    pass


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", ["text ü\n", b"\x00\xff"])
def test_write_atomic_makes_parents_and_replaces(content, tmp_path):
    path = tmp_path / "a" / "b.bin"
    write_atomic(path, "old and longer than the new")
    write_atomic(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(path.parent) == ["b.bin"]


@pytest.mark.parametrize("existed", [True, False])
def test_a_file_keeps_its_old_content_when_the_body_raises(existed, tmp_path):
    path = tmp_path / "x.txt"
    if existed:
        path.write_text("old")
    with pytest.raises(Stop), atomic_file(path) as temporary:
        temporary.write_text("half")
        assert temporary.name == "x.txt" and temporary.parent.parent == path.parent
        assert not existed or path.read_text() == "old"
        raise Stop
    assert names(tmp_path) == (["x.txt"] if existed else [])
    assert not existed or path.read_text() == "old"


@pytest.mark.parametrize("existed", [True, False])
def test_a_folder_keeps_its_old_content_when_the_body_raises(existed, tmp_path):
    path = tmp_path / "run"
    if existed:
        (path / "deep").mkdir(parents=True)
        (path / "deep" / "old.txt").write_text("old")
    with pytest.raises(Stop), atomic_folder(path) as temporary:
        (temporary / "new.txt").write_text("half")
        raise Stop
    assert names(tmp_path) == (["run"] if existed else [])
    assert not existed or (path / "deep" / "old.txt").read_text() == "old"


def test_a_folder_takes_the_place_of_the_old_one_whole(tmp_path):
    path = tmp_path / "run"
    for content in ("first", "second"):
        with atomic_folder(path) as temporary:
            (temporary / content).mkdir()
            (temporary / content / "x").write_text(content)
    assert names(tmp_path) == ["run"] and names(path) == ["second"] and (path / "second" / "x").read_text() == "second"


def test_a_failed_exchange_brings_the_old_folder_back(tmp_path, monkeypatch):
    path = tmp_path / "run"
    path.mkdir()
    (path / "old.txt").write_text("old")
    real = os.replace

    def replace(source, target):
        if Path(source).name.startswith(".run.tmp"):
            raise OSError("disk trouble")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="disk trouble"), atomic_folder(path) as temporary:
        (temporary / "new.txt").write_text("new")
    assert names(tmp_path) == ["run"] and names(path) == ["old.txt"]


def test_a_folder_never_replaces_a_file(tmp_path):
    path = tmp_path / "run"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="run is a file: give a folder"), atomic_folder(path):
        pass
    assert path.read_text() == "precious" and names(tmp_path) == ["run"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_killed_writer_leaves_the_old_content_and_harmless_leftovers(kind, tmp_path):
    script = f"""
import os, signal, sys
from pathlib import Path
from openflextok.files import atomic_{kind}
with atomic_{kind}(Path(sys.argv[1])) as temporary:
    ({"temporary" if kind == "file" else "temporary / 'x'"}).write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "out"
    content = path if kind == "file" else path / "x"
    content.parent.mkdir(exist_ok=True)
    content.write_text("old")
    process = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert process.returncode == -9
    assert content.read_text() == "old"
    assert len(names(tmp_path)) == 2 and names(tmp_path)[0].startswith(".out.tmp-")
    with (atomic_file if kind == "file" else atomic_folder)(path) as temporary:
        (temporary if kind == "file" else temporary / "x").write_text("new")
    assert content.read_text() == "new"


def test_a_link_stays_a_link_to_what_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    with atomic_folder(tmp_path / "link") as temporary:
        (temporary / "x").write_text("new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "disk" / "x").read_text() == "new"
    (tmp_path / "other").symlink_to(tmp_path / "disk" / "x")
    write_atomic(tmp_path / "other", "newer")
    assert (tmp_path / "other").is_symlink() and (tmp_path / "disk" / "x").read_text() == "newer"
    assert names(tmp_path) == ["disk", "link", "other"]


@pytest.mark.parametrize("atomic", [atomic_file, atomic_folder])
def test_a_disk_that_safetensors_cannot_write_to_is_one_error_of_the_system(atomic, tmp_path):
    with pytest.raises(OSError, match="out cannot be written: .*No space left"), atomic(tmp_path / "out"):
        raise SafetensorError("I/O error: No space left on device (os error 28)")
    assert names(tmp_path) == []


def test_what_a_library_puts_beside_the_temporary_file_goes_with_it(tmp_path):
    with atomic_file(tmp_path / "x.safetensors") as temporary:
        assert temporary.name == "x.safetensors"
        temporary.with_name(".tmpTcfcOB").write_text("half")
        temporary.write_text("new")
    assert names(tmp_path) == ["x.safetensors"]
