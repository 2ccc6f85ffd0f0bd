"""Rows come back as they were written, from one set or several, and no damaged set is opened."""

import copy
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from token_set_helpers import tiny
from torch.utils.data import DataLoader, Dataset

import openflextok as oft
from openflextok.token_sets import reader
from openflextok.token_sets.format import read_shard, shard_path, write_shard
from openflextok.token_sets.plan import to_json
from openflextok.token_sets.reader import open_token_set, read_manifest


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, pictures: Path, checkpoint: Path) -> Path:
    """18 readable pictures x 2 crops in five shards."""
    from openflextok.cli.tokenize import tokenize

    out = tmp_path_factory.mktemp("finished") / "set"
    tokenize(str(pictures), out=out, tokenizer=str(checkpoint), crops=2, shard_size=5)
    return out


@pytest.fixture
def damaged(finished: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return shutil.copytree(finished, tmp_path / "set")


def stored(folder: Path) -> np.ndarray:
    plan = read_manifest(folder).plan
    shards = [read_shard(folder, plan, number).ids_MKN.reshape(-1, plan.num_tokens) for number in range(plan.shards)]
    return np.concatenate(shards).astype(np.int64)


def test_any_rows_in_any_order(finished: Path) -> None:
    tokens, expected = open_token_set(finished), stored(finished)
    rows = np.random.default_rng(0).integers(0, 36, 200)
    assert len(tokens) == 36 and tokens.num_tokens == 8 and tokens.codebook_size == 64000
    assert tokens.fingerprint == tiny().fingerprint()
    for asked in (rows, rows.tolist(), torch.from_numpy(rows), range(36), [7]):
        found = tokens.ids(asked)
        assert found.dtype == torch.int64 and found.is_contiguous()
        assert np.array_equal(found.numpy(), expected[np.asarray(asked)])
    assert tokens.ids([]).shape == (0, 8)


def test_few_open_shards_at_a_time(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "OPEN", 2)
    tokens, expected = open_token_set(finished), stored(finished)
    rows = np.random.default_rng(1).permutation(36)
    assert all(np.array_equal(tokens.ids([row]).numpy()[0], expected[row]) for row in rows)
    assert len(tokens._open) == 2


@pytest.mark.parametrize("row", [-1, 36, 10**9])
def test_rows_outside_are_refused(finished: Path, row: int) -> None:
    tokens = open_token_set(finished)
    for ask in (lambda: tokens.ids([0, row]), lambda: tokens.key(row), lambda: tokens.label(row)):
        with pytest.raises(IndexError, match=f"no row {row}: the token set has 36"):
            ask()


class Rows(Dataset):
    def __init__(self, tokens: reader.TokenSet) -> None:
        self.tokens = tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, row: int) -> torch.Tensor:
        return self.tokens.ids([row])[0]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_worker_processes_read_the_same(finished: Path, start: str) -> None:
    tokens = open_token_set(finished)
    tokens.ids(range(36))  # open maps must not be sent along
    loader = DataLoader(Rows(tokens), batch_size=6, num_workers=2, multiprocessing_context=start)
    assert np.array_equal(torch.cat(list(loader)).numpy(), stored(finished))


def test_a_copy_without_maps_is_the_same(finished: Path) -> None:
    tokens = open_token_set(finished)
    tokens.ids([0])
    twin = copy.copy(tokens)
    assert twin._open == {} and torch.equal(twin.ids(range(36)), tokens.ids(range(36)))


def test_sets_one_after_another(finished: Path, tokenize, tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "zebra").mkdir()
    (tmp_path / "zebra" / "z.png").write_bytes((pictures / "00.png").read_bytes())
    other = tokenize(tmp_path / "other", data=tmp_path)
    both = open_token_set(f"{finished} + {other}")
    first, second = open_token_set(finished), open_token_set(other)
    assert len(both) == 37 and both.classes == ("cat", "dog", "zebra", "Ärger")
    assert torch.equal(both.ids([36, 0]), torch.cat([second.ids([0]), first.ids([0])]))
    assert (both.key(36), both.label(36), both.crop(36), both.caption(36)) == ("zebra/z.png", "zebra", 0, None)
    assert (both.key(35), both.label(35), both.crop(35)) == (first.key(35), first.label(35), 1)


def test_sets_of_two_tokenizers_are_refused_naming_both(finished: Path, tokenize, tmp_path: Path) -> None:
    oft.save(tiny(1), tmp_path / "t")
    other = tokenize(tmp_path / "other", tokenizer=tmp_path / "t")
    with pytest.raises(ValueError, match="cannot be one set: fingerprint") as error:
        open_token_set(f"{finished} + {other}")
    assert str(finished) in str(error.value) and str(other) in str(error.value)


def expect(folder: Path, words: str, **options: bool) -> None:
    with pytest.raises(ValueError, match=None) as error:
        open_token_set(folder, **options)
    assert words in str(error.value) and "\n" not in str(error.value), error.value
    assert str(folder) in str(error.value)


def test_truncated(damaged: Path) -> None:
    path = shard_path(damaged, 1)
    path.write_bytes(path.read_bytes()[:-3])
    size = path.stat().st_size
    for verify in (True, False):
        expect(damaged, f"shard-000001.safetensors is truncated ({size} of {size + 3} bytes)", verify=verify)
    path.write_bytes(b"")
    expect(damaged, "is truncated (0 of ")


def test_missing(damaged: Path) -> None:
    shard_path(damaged, 2).unlink()
    for verify in (True, False):
        expect(damaged, "shard-000002.safetensors is missing", verify=verify)


def test_wrong_checksum(damaged: Path) -> None:
    path = shard_path(damaged, 1)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    expect(damaged, "has the checksum")
    assert len(open_token_set(damaged, verify=False)) == 36  # the price of being quick


def test_too_long(damaged: Path) -> None:
    path = shard_path(damaged, 1)
    path.write_bytes(path.read_bytes() + b"\0")
    expect(damaged, "of the manifest", verify=False)


def test_shard_of_another_job(damaged: Path, tokenize, tmp_path: Path) -> None:
    other = tokenize(tmp_path / "other", crops=2, shard_size=5, seed=9)
    shutil.copy(shard_path(other, 1), shard_path(damaged, 1))
    expect(damaged, f"not shard 1 of job {read_manifest(damaged).plan.digest()}", verify=False)


def test_shards_in_another_order(damaged: Path) -> None:
    shutil.copy(shard_path(damaged, 2), shard_path(damaged, 1))
    with pytest.raises(ValueError, match="is shard 2 of job|is truncated|of the manifest"):
        open_token_set(damaged)


def test_manifest_of_another_set(damaged: Path, tokenize, tmp_path: Path) -> None:
    other = tokenize(tmp_path / "other", crops=2, shard_size=5, seed=9)
    shutil.copy(other / "manifest.json", damaged / "manifest.json")
    with pytest.raises(ValueError, match="it comes from another set of tokens|is truncated|of the manifest"):
        open_token_set(damaged)


def test_no_safetensors(damaged: Path) -> None:
    path = shard_path(damaged, 0)
    path.write_bytes(b"x" * path.stat().st_size)
    expect(damaged, "shard-000000.safetensors is no shard of tokens")


def test_ids_beyond_the_codebook(damaged: Path) -> None:
    """Written with a right checksum, as a faulty program would."""
    manifest = read_manifest(damaged)
    shard = read_shard(damaged, manifest.plan, 0)
    ids = shard.ids_MKN.copy()
    ids[1, 0, 3] = 64000
    write_shard(damaged, manifest.plan, 0, replace(shard, ids_MKN=ids))
    path = shard_path(damaged, 0)
    entry = replace(manifest.shards[0], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    (damaged / "manifest.json").write_text(to_json(replace(manifest, shards=(entry, *manifest.shards[1:]))))
    expect(damaged, "holds id 64000 beyond the codebook (0 <= id < 64000)")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:50], "manifest.json is damaged"),
        (lambda text: text.replace("openflextok-token-set-1", "other-2"), "manifest.json is not of this format"),
        (lambda text: text.replace('"rows": 36', '"rows": 35'), "does not agree with itself"),
        (lambda text: text.replace('"rows"', '"lines"'), "unknown entry 'lines'"),
        (lambda text: json.dumps(json.loads(text) | {"shards": []}), "0 shards listed of 5"),
    ],
)
def test_broken_manifests(damaged: Path, change, words: str) -> None:
    path = damaged / "manifest.json"
    path.write_text(change(path.read_text()))
    expect(damaged, words)


def test_what_is_no_finished_set(damaged: Path, tmp_path: Path) -> None:
    expect(tmp_path / "nowhere", "is no token set (no manifest.json): make one with `openflextok tokenize`")
    (damaged / "manifest.json").unlink()
    expect(damaged, "is not finished: start the same `openflextok tokenize` again")


def test_data_check_reports_and_verifies(run, damaged: Path) -> None:
    text = run("data", "check", damaged)
    for words in ("36 of 8 tokens", "18 readable, 4 not", "3 classes", "all checksums are right", "03.png: "):
        assert words in text
    path = shard_path(damaged, 1)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert "has the checksum" in run("data", "check", damaged, code=2)
