"""What `openflextok tokenize` writes is what the tokenizer says of the same crops, once for every readable picture."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from token_set_helpers import BROKEN, PICTURES, tiny

import openflextok as oft
from openflextok.data.sources import open_source
from openflextok.data.transforms import random_crop
from openflextok.token_sets.finish import finish
from openflextok.token_sets.format import read_shard, write_shard
from openflextok.token_sets.job import Job, make_shard, missing, start
from openflextok.token_sets.plan import make_plan
from openflextok.token_sets.reader import open_token_set, read_manifest

GOOD = [i for i in range(PICTURES) if i not in BROKEN]


def picture(folder: Path, index: int) -> Image.Image:
    with Image.open(folder / f"{index:02}.png") as opened:
        return opened.convert("RGB")


def test_centre_crops_are_what_encode_sees(tokenize, pictures: Path, checkpoint: Path, tmp_path: Path) -> None:
    """A shard of 8 pictures is one batch: ids must be equal exactly."""
    out = tokenize(tmp_path / "set", shard_size=8)
    tokens, tokenizer = open_token_set(out), oft.load(checkpoint)
    assert len(tokens) == len(GOOD)
    row = 0
    for first in range(0, PICTURES, 8):
        inside = [i for i in GOOD if first <= i < first + 8]
        expected = tokenizer.encode([picture(pictures, i) for i in inside]).ids
        assert torch.equal(tokens.ids(range(row, row + len(inside))), expected)
        row += len(inside)
    assert len(torch.unique(tokens.ids(range(row)), dim=0)) == row  # else any order would pass


def test_random_crops_depend_on_seed_picture_and_crop_alone(
    tokenize, pictures: Path, checkpoint: Path, tmp_path: Path
) -> None:
    options = {"crops": 3, "crop_scale": (0.4, 0.7), "seed": 5}
    whole = open_token_set(tokenize(tmp_path / "whole", batch_size=64, **options))
    cut = open_token_set(tokenize(tmp_path / "cut", batch_size=64, shard_size=5, threads=1, **options))
    crops = [
        random_crop(picture(pictures, i), (16, 16), (0.4, 0.7), True, np.random.default_rng([5, i, crop]))
        for i in GOOD
        for crop in range(3)
    ]
    expected = oft.load(checkpoint).encode(crops).ids
    rows = range(len(crops))
    assert torch.equal(whole.ids(rows), expected)
    same = (cut.ids(rows) == expected).all(dim=1).float().mean()
    assert same > 0.95  # other batches round otherwise, hardly ever across a border between ids
    assert [(whole.key(row), whole.crop(row)) for row in rows] == [
        (f"{i:02}.png", crop) for i in GOOD for crop in range(3)
    ]
    straight = open_token_set(tokenize(tmp_path / "straight", batch_size=64, flip=False, **options))
    unflipped = [
        random_crop(picture(pictures, i), (16, 16), (0.4, 0.7), False, np.random.default_rng([5, i, crop]))
        for i in GOOD
        for crop in range(3)
    ]
    assert torch.equal(straight.ids(rows), oft.load(checkpoint).encode(unflipped).ids)


def test_words_and_unreadable_pictures(tokenize, pictures: Path, tmp_path: Path) -> None:
    out = tokenize(tmp_path / "set", shard_size=5, batch_size=2)
    tokens, manifest, source = open_token_set(out), read_manifest(out), open_source(str(pictures))
    for row, index in enumerate(GOOD):
        words = source.words(index)
        assert (tokens.key(row), tokens.label(row), tokens.caption(row)) == (
            source.name(index),
            words.label,
            words.caption,
        )
    assert tokens.classes == ("cat", "dog", "Ärger")
    assert [found.index for found in manifest.unreadable] == list(BROKEN)
    assert all(f"{index:02}.png: " in found.reason for index, found in zip(BROKEN, manifest.unreadable, strict=True))
    assert manifest.captioned == sum(i % 2 for i in GOOD)
    with Image.open(out / "spot_check.png") as picture_:
        assert picture_.height > 2 * 16


def test_a_shard_without_readable_pictures(tokenize, pictures: Path, tmp_path: Path) -> None:
    """Pictures 3 and 4 are broken, and shard 3 of size 1 is empty."""
    out = tokenize(tmp_path / "set", shard_size=1)
    assert [entry.images for entry in read_manifest(out).shards] == [int(i not in BROKEN) for i in range(PICTURES)]
    assert [open_token_set(out).key(row) for row in range(len(GOOD))] == [f"{i:02}.png" for i in GOOD]


def test_no_readable_picture_is_an_error(tokenize, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="none of 1 images could be read; the first: a.png: empty file"):
        tokenize(tmp_path / "set", data=tmp_path / "bad")
    assert not (tmp_path / "set" / "manifest.json").exists()


def test_large_codebooks_take_four_bytes(tokenize, tmp_path: Path) -> None:
    large = tiny(levels=(64, 64, 64))
    oft.save(large, tmp_path / "large")
    out = tokenize(tmp_path / "set", tokenizer=tmp_path / "large")
    shard = read_shard(out, read_manifest(out).plan, 0)
    assert shard.ids_MKN.dtype == np.uint32 and shard.ids_MKN.max() > 1 << 16
    small = tokenize(tmp_path / "small")
    assert read_shard(small, read_manifest(small).plan, 0).ids_MKN.dtype == np.uint16


def test_a_mix_is_read_number_by_number(tokenize, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    for i in (0, 1):
        (tmp_path / "two" / f"other{i}.png").write_bytes((pictures / f"{i:02}.png").read_bytes())
    line = f"0.5*{pictures} + 0.5*{tmp_path / 'two'}"
    tokens, source = open_token_set(tokenize(tmp_path / "set", data=line)), open_source(line)
    expected = [source.name(i) for i in range(len(source)) if source.name(i) not in {f"{b:02}.png" for b in BROKEN}]
    assert [tokens.key(row) for row in range(len(tokens))] == expected


def test_two_processes_equal_one(run, contents, pictures: Path, checkpoint: Path, tmp_path: Path) -> None:
    arguments = ("tokenize", pictures, "--tokenizer", checkpoint, "--shard-size", 3, "--batch-size", 4, "--crops", 2)
    text = run(*arguments, "--out", tmp_path / "one")
    assert "36 rows of 8 tokens" in text and "4 unreadable" in text and "4 of 4 rows encoded again are equal" in text
    text = run(*arguments, "--out", tmp_path / "two", processes=2)
    assert text.count("36 rows of 8 tokens") in (1, 2)  # both may find all shards made
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_each_process_makes_its_own_shards(pictures: Path, tokenize, contents, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    for rank, expected in ((2, [2, 5]), (0, [0, 2, 3, 5, 6])):
        monkeypatch.setenv("RANK", str(rank))
        tokenize(tmp_path / "set", shard_size=3)
        assert sorted(int(p.stem[6:]) for p in (tmp_path / "set").glob("shard-*")) == expected
        assert not (tmp_path / "set" / "manifest.json").exists()
    monkeypatch.setenv("RANK", "1")
    tokenize(tmp_path / "set", shard_size=3)
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.delenv("RANK")
    assert contents(tmp_path / "set") == contents(tokenize(tmp_path / "one", shard_size=3))


def test_a_finished_set_is_left_alone(tokenize, tmp_path: Path, capsys) -> None:
    out = tokenize(tmp_path / "set")
    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.name != ".lock"}
    capsys.readouterr()
    tokenize(out)
    assert "nothing to do: 18 rows" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in out.iterdir() if path.name != ".lock"}


def test_bf16_says_so_and_encodes_under_autocast(
    tokenize, pictures: Path, checkpoint: Path, tmp_path: Path, capsys
) -> None:
    tokens = open_token_set(tokenize(tmp_path / "set", precision="bf16"))
    assert "some ids differ" in capsys.readouterr().out
    with torch.autocast("cpu", torch.bfloat16):
        expected = oft.load(checkpoint).encode([picture(pictures, i) for i in GOOD]).ids
    assert torch.equal(tokens.ids(range(len(tokens))), expected)
    assert not torch.equal(expected, oft.load(checkpoint).encode([picture(pictures, i) for i in GOOD]).ids)


def made(pictures: Path, out: Path) -> Job:
    """A job with all shards made and nothing else."""
    tokenizer, source = tiny(), open_source(str(pictures))
    job = Job(out, make_plan(str(pictures), source, "tiny", tokenizer, shard_size=9), source, tokenizer, 2)
    start(out, job.plan)
    for number in missing(out, job.plan):
        make_shard(job, number)
    return job


def test_the_spot_check_finds_a_wrong_id(pictures: Path, tmp_path: Path) -> None:
    job = made(pictures, tmp_path / "set")
    shard = read_shard(job.folder, job.plan, 0)
    ids = shard.ids_MKN.astype(np.int64)
    old = int(ids[0, 0, 2])
    ids[0, 0, 2] = (old + 1) % job.plan.codebook_size
    write_shard(job.folder, job.plan, 0, type(shard)(ids, *(getattr(shard, n) for n in list(shard.__dict__)[1:])))
    manifest = finish(job)
    assert manifest is not None and manifest.spot_checked == 4
    (difference,) = manifest.spot_differences
    assert f"00.png, crop 0: 1 of 8 tokens differ (token 2 is {ids[0, 0, 2]}, now {old})" in difference


def test_a_picture_that_is_gone_is_a_difference(pictures: Path, tmp_path: Path, caplog) -> None:
    for i in range(4):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / f"{i}.png").write_bytes((pictures / "00.png").read_bytes())
    caplog.set_level(logging.ERROR)
    job = made(tmp_path / "data", tmp_path / "set")
    (tmp_path / "data" / "2.png").unlink()
    manifest = finish(job)
    assert manifest is not None and "2.png: no such file" in manifest.spot_differences[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crops": 0}, "crops 0 is impossible: give 1 or more"),
        ({"crop_scale": (0.5, 1.0)}, "needs random crops: give --crops 2 or more"),
        ({"flip": True}, "flip is for random crops: give --crops 2 or more"),
        ({"workers": 2}, "--workers and --address are for --engine ray"),
        ({"address": "auto"}, "--workers and --address are for --engine ray"),
        ({"crops": 2, "crop_scale": (0.0, 1.0)}, "it needs 0 < smallest <= largest <= 1"),
        ({"batch_size": 0}, "batch size 0 is impossible"),
        ({"shard_size": -1}, "shard size -1 is impossible"),
        ({"threads": 0}, "0 threads are impossible"),
        ({"seed": -1}, "seed -1 is impossible"),
        ({"precision": "fp8"}, "unknown precision 'fp8': choose fp32 or bf16"),
        ({"engine": "spark"}, "unknown engine 'spark': choose local or ray"),
        ({"engine": "ray", "workers": 0}, "0 workers are impossible"),
        ({"data": "nowhere"}, "nowhere: no such folder"),
        ({"tokenizer": "nothing"}, "no checkpoint 'nothing'"),
    ],
)
def test_impossible_wishes_are_refused_before_anything_is_written(
    tokenize, tmp_path: Path, options, words: str
) -> None:
    with pytest.raises(ValueError, match=None) as error:
        tokenize(tmp_path / "set", **options)
    assert words in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": 1}, "different in seed (0, now 1)"),
        ({"shard_size": 4}, "shard_size (5, now 4)"),
        ({"crops": 2}, "crops (1, now 2); crop_scale (None, now (0.8, 1.0)); flip (False, now True)"),
        ({"precision": "bf16"}, "precision (fp32, now bf16)"),
        ({"batch_size": 7}, "batch_size (32, now 7)"),
    ],
)
def test_another_plan_is_refused(tokenize, tmp_path: Path, options, words: str) -> None:
    out = tokenize(tmp_path / "set", shard_size=5)
    with pytest.raises(ValueError, match="holds another job") as error:
        tokenize(out, **({"shard_size": 5} | options))
    assert words in str(error.value) and "another --out" in str(error.value)


def test_other_weights_and_other_pictures_are_refused(tokenize, pictures: Path, tmp_path: Path) -> None:
    oft.save(tiny(0), tmp_path / "t")
    (tmp_path / "data").mkdir()
    for i in (0, 1):
        (tmp_path / "data" / f"{i}.png").write_bytes((pictures / f"{i:02}.png").read_bytes())
    out = tokenize(tmp_path / "set", data=tmp_path / "data", tokenizer=tmp_path / "t")
    (tmp_path / "data" / "1.png").rename(tmp_path / "data" / "2.png")
    with pytest.raises(ValueError, match=r"different in names \("):
        tokenize(out, data=tmp_path / "data", tokenizer=tmp_path / "t")
    (tmp_path / "data" / "2.png").rename(tmp_path / "data" / "1.png")
    oft.save(tiny(1), tmp_path / "t")
    with pytest.raises(ValueError, match=r"different in fingerprint \("):
        tokenize(out, data=tmp_path / "data", tokenizer=tmp_path / "t")


def test_folders_with_other_files_are_refused(tokenize, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds other files \(thesis.txt\): give a new or an empty folder"):
        tokenize(tmp_path / "set")
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["thesis.txt"]
    with pytest.raises(ValueError, match="thesis.txt is a file"):
        tokenize(tmp_path / "set" / "thesis.txt")


def test_the_command_says_one_line(run, pictures: Path, checkpoint: Path, tmp_path: Path) -> None:
    text = run("tokenize", pictures, "--tokenizer", checkpoint, "--out", tmp_path / "set", "--crops", 0, code=2)
    assert text.strip() == "openflextok: crops 0 is impossible: give 1 or more"


def test_the_plan_can_be_read_by_people(tokenize, pictures: Path, tmp_path: Path) -> None:
    plan = json.loads((tokenize(tmp_path / "set", crops=2) / "job.json").read_text())
    assert plan["data"] == str(pictures) and plan["images"] == PICTURES and plan["crop_scale"] == [0.8, 1.0]
