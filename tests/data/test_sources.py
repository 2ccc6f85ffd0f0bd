"""All kinds of sources, and the lines of text that open them."""

from __future__ import annotations

import json
import re
import sys
import tarfile
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from openflextok.data.base import Texts, class_names
from openflextok.data.check import check
from openflextok.data.folders import FolderSource
from openflextok.data.huggingface import HuggingFaceSource
from openflextok.data.mix import CachedSource, MixSource, keep_in_memory
from openflextok.data.shards import ShardSource, expand_braces
from openflextok.data.sources import open_source
from openflextok.pixels import ImageError

sys.path.insert(0, str(Path(__file__).parent))
from pictures import Numbered, noise, png, write, write_tar


@given(st.lists(st.none() | st.text(st.characters(exclude_characters="\x00"), max_size=5)))
@example(["\ud800", "\udcff", None, ""])  # half characters: out of JSON, and of file names that are no UTF-8
def test_texts_is_a_list(texts: list[str | None]) -> None:
    packed = Texts(texts)
    assert len(packed) == len(texts) and [packed[i] for i in range(len(texts))] == texts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, name in enumerate(("dog/b.png", "dog/a.PNG", "cat/c.png", "top.png", ".hidden/x.png", "dog/notes.txt")):
        write(tmp_path / "plain" / name, png(seed))
    return tmp_path / "plain"


@pytest.fixture
def described(tmp_path: Path) -> Path:
    root = tmp_path / "described"
    rows = [
        {"file": "images/0.png", "label": "dog", "caption": "a dög", "split": "train"},
        {"file": "images/1.png", "label": 7, "split": "heldout"},
        {"file": "images/2.png", "caption": "nothing", "split": "train"},
    ]
    for seed, row in enumerate(rows):
        write(root / str(row["file"]), png(seed))
    write(root / "meta.jsonl", "\n\n".join(json.dumps(row) for row in rows).encode())
    return root


def test_folder_labels_are_sub_folders(folder: Path) -> None:
    source = FolderSource(folder)
    names = [source.name(i) for i in range(len(source))]
    assert names == ["top.png", "cat/c.png", "dog/a.PNG", "dog/b.png"]
    assert [source.words(i).label for i in range(4)] == [None, "cat", "dog", "dog"]
    assert class_names(source) == ("cat", "dog")
    example = source.read(3)
    assert example.key == "dog/b.png" and np.array_equal(np.asarray(example.image), np.asarray(noise(seed=0)))


def test_folder_with_meta(described: Path) -> None:
    source = FolderSource(described)
    assert [(source.words(i).label, source.words(i).caption) for i in range(3)] == [
        ("dog", "a dög"),
        ("7", None),
        (None, "nothing"),
    ]
    train = open_source(f"{described}#split=train")
    assert [train.name(i) for i in range(len(train))] == ["images/0.png", "images/2.png"]
    assert len(open_source(f"{described}#heldout")) == 1
    assert np.array_equal(np.asarray(train.read(1).image), np.asarray(noise(seed=2)))


@pytest.mark.parametrize(
    ("line", "words"), [("{oops", "line 2: not JSON"), ('{"label": "x"}', 'line 2: no "file"'), ("[1]", 'no "file"')]
)
def test_meta_that_cannot_be_understood(described: Path, line: str, words: str) -> None:
    (described / "meta.jsonl").write_text('{"file": "images/0.png"}\n' + line)
    with pytest.raises(ValueError, match=words):
        FolderSource(described)


def test_missing_picture_is_named(described: Path) -> None:
    (described / "images/0.png").unlink()
    with pytest.raises(ImageError, match="no such file"):
        FolderSource(described).read(0)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    first = {
        "x/1.jpg": png(1),
        "x/1.cls": b"dog\n",
        "x/1.txt": "a dög".encode(),
        "x/2.seg.png": png(2),
        "x/2.json": b'{"caption": "two", "class": 5}',
        "readme.txt": b"no picture",
    }
    write_tar(tmp_path / "s" / "00.tar", first)
    write_tar(tmp_path / "s" / "01.tar", {"3.png": png(3), "3.json": b"{broken", "4.png": b"no picture"})
    return tmp_path / "s"


def test_shards_in_any_order(shards: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = open_source(f"{shards}/{{00..01}}.tar")
    assert isinstance(source, ShardSource) and source.sizes() == [2, 2]
    assert [source.name(i) for i in range(4)] == ["00.tar:x/1", "00.tar:x/2", "01.tar:3", "01.tar:4"]
    for index in (2, 0, 1):
        assert np.array_equal(np.asarray(source.read(index).image), np.asarray(noise(seed=index + 1)))
    words = [source.words(i) for i in range(3)]
    assert [(w.label, w.caption) for w in words] == [("dog", "a dög"), ("5", "two"), (None, None)]
    assert "01.tar:3: its .json cannot be read" in caplog.text
    with pytest.raises(ImageError, match=r"01\.tar:4: not a picture"):
        source.read(3)
    assert len(open_source(str(shards))) == 4


@pytest.mark.parametrize("how", ["header", "hole", "cut"])
def test_what_follows_damage_is_missed_aloud(how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """tarfile takes a bad header, a block of zeros and an end between two members for the end of the archive."""
    whole = write_tar(tmp_path / "00.tar", {f"{i}.png": png(i) for i in range(6)}).read_bytes()
    assert len(ShardSource([tmp_path / "00.tar"])) == 6 and not caplog.text
    with tarfile.open(tmp_path / "00.tar") as archive:
        third = archive.getmembers()[3].offset
    broken = {
        "header": whole[:third] + b"?" + whole[third + 1 :],
        "hole": whole[:third] + bytes(512) + whole[third + 512 :],
        "cut": whole[:third],
    }
    source = ShardSource([write(tmp_path / "01.tar", broken[how])])
    assert len(source) == 3 and len(source.damage) == 1
    assert "01.tar: damaged or cut off; only the pictures before the damage are used" in caplog.text
    report = check(source, image_size=(8, 8), batch_size=2)
    assert source.damage[0] in str(report) and report.damage == tuple(source.damage)


def test_pictures_of_one_name_up_to_the_dot_are_missed_aloud(tmp_path: Path) -> None:
    source = ShardSource([write_tar(tmp_path / "00.tar", {f"IMG.{i}.png": png(i) for i in range(3)})])
    assert len(source) == 1
    assert "2 pictures are left out, such as IMG.1.png" in source.damage[0]


def test_a_link_to_a_folder_above_is_not_followed_again(folder: Path) -> None:
    before = [FolderSource(folder).name(i) for i in range(len(FolderSource(folder)))]
    (folder / "dog" / "up").symlink_to(folder)
    (folder / "here").symlink_to(folder / "cat")  # another folder's pictures under another name are fine
    source = FolderSource(folder)
    assert sorted(source.name(i) for i in range(len(source))) == sorted([*before, "here/c.png"])


def test_splits_may_be_numbers(described: Path) -> None:
    rows = [json.loads(line) for line in (described / "meta.jsonl").read_text().splitlines() if line.strip()]
    lines = [json.dumps(row | {"split": i % 2}) for i, row in enumerate(rows)]
    (described / "meta.jsonl").write_text("\n".join(lines))
    assert len(open_source(f"{described}#0")) == (len(rows) + 1) // 2


def test_damaged_shards(shards: Path, tmp_path: Path) -> None:
    whole = (shards / "00.tar").read_bytes()
    cut = write(tmp_path / "cut.tar", whole[:700])
    source = ShardSource([cut])
    assert len(source) == 1
    with pytest.raises(ImageError, match="damaged or cut off"):
        source.read(0)
    with pytest.raises(ValueError, match="not a plain"):
        ShardSource([write(tmp_path / "z.tar", b"\x1f\x8b" + bytes(2000))])
    with pytest.raises(ValueError, match="no such shard"):
        open_source(f"{shards}/{{00..02}}.tar")
    with pytest.raises(ValueError, match="no pictures in 1 shards"):
        ShardSource([write_tar(tmp_path / "t.tar", {"a.txt": b"x"})])


def test_braces() -> None:
    assert expand_braces("a{08..11}.tar") == ["a08.tar", "a09.tar", "a10.tar", "a11.tar"]
    assert expand_braces("{a,b}{0..1}") == ["a0", "a1", "b0", "b1"]
    assert expand_braces("plain.tar") == ["plain.tar"]
    with pytest.raises(ValueError, match="smaller number first"):
        expand_braces("{3..1}.tar")


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(0.01, 10)), min_size=1, max_size=4))
def test_mix_honours_weights_and_covers_everything(parts: list[tuple[int, float]]) -> None:
    mix = MixSource([Numbered(length) for length, _ in parts], [weight for _, weight in parts])
    found = [mix.find(index) for index in range(len(mix))]
    total = sum(weight for _, weight in parts)
    for which, (length, weight) in enumerate(parts):
        inner = [i for w, i in found if w == which]
        assert set(inner) == set(range(length))
        assert len(inner) == pytest.approx(len(mix) * weight / total, abs=len(parts) + 1)


def test_mix_reads_the_right_picture_and_refuses_bad_weights() -> None:
    mix = MixSource([Numbered(3), Numbered(5)], [1, 1])
    assert len(mix) == 10 and mix.read(4).key == "n1" and mix.read(9).image.getpixel((0, 0)) == (4, 4, 4)
    assert mix.words(9).caption == "number 4" and mix.name(5) == "n0"
    for weights in ([1], [0, 1], [1, float("nan")], [-1, 2]):
        with pytest.raises(ValueError, match="weight"):
            MixSource([Numbered(3), Numbered(5)], weights)
    with pytest.raises(IndexError):
        mix.find(10)


def test_cache_keeps_small_pictures_and_errors() -> None:
    cached = CachedSource(Numbered(4, broken=frozenset({2}), size=(40, 20)), 10).fill()
    assert cached.read(1).image.size == (20, 10) and cached.read(3).image.getpixel((0, 0)) == (3, 3, 3)
    assert cached.megabytes() == pytest.approx(3 * 20 * 10 * 3 / 1e6)
    for _ in range(2):
        with pytest.raises(ImageError, match="n2: empty file"):
            cached.read(2)
    assert CachedSource(Numbered(1, size=(4, 4)), 10).read(0).image.size == (4, 4)
    mix = keep_in_memory(MixSource([Numbered(2), Numbered(8)], [1, 1]), 4)
    assert isinstance(mix, MixSource) and len(mix) == 16 and mix.read(1).image.size == (5, 4)


def test_open_a_mix(folder: Path, described: Path) -> None:
    mix = open_source(f"0.5*{described}#train + .5 * {folder}")
    assert isinstance(mix, MixSource) and mix.weights == (0.5, 0.5) and len(mix) == 8
    assert len(ForkingPickler.dumps(mix)) < 5000  # what a worker process is given


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "an empty place"),
        ("/no/such/folder", "no such folder; give a folder"),
        (__file__, "a file, not a folder; give a folder"),
        ("0.5*/a + /b", "no weight before '/b'"),
        ("builtin:bird", "did you mean 'birds'"),
    ],
)
def test_lines_that_cannot_be_understood(spec: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        open_source(spec)


def test_empty_folders_and_unknown_splits(tmp_path: Path, described: Path) -> None:
    with pytest.raises(ValueError, match="has no pictures"):
        FolderSource(_empty(tmp_path))
    with pytest.raises(ValueError, match=r"has no rows with split='test' in meta\.jsonl; choose from heldout, train"):
        open_source(f"{described}#test")
    with pytest.raises(ValueError, match=r"has no meta\.jsonl"):
        open_source(f"{_empty(tmp_path)}#train")


def _empty(root: Path) -> Path:
    path = root / "empty"
    path.mkdir(exist_ok=True)
    return path


def test_builtin_set_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, described: Path) -> None:
    monkeypatch.setenv("OPENFLEXTOK_CACHE", str(tmp_path))
    (tmp_path / "data").mkdir()
    described.rename(tmp_path / "data" / "birds")
    assert [len(open_source(f"builtin:birds{split}")) for split in ("", ":heldout", ":all")] == [2, 1, 3]


def test_hugging_face_from_disk(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    columns = {"img": [png(0), png(1)], "label": [1, 0], "text": ["first", None]}
    features = datasets.Features(
        img=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]), text=datasets.Value("string")
    )
    rows = {**columns, "img": [{"bytes": data, "path": None} for data in columns["img"]]}
    made = datasets.Dataset.from_dict(rows, features=features)
    made.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict(train=made, test=made).save_to_disk(str(tmp_path / "two"))
    source = open_source(f"hf:{tmp_path / 'one'}")
    assert [(source.words(i).label, source.words(i).caption) for i in (0, 1)] == [("dog", "first"), ("cat", None)]
    assert np.array_equal(np.asarray(source.read(1).image), np.asarray(noise(seed=1)))
    assert isinstance(open_source(f"{tmp_path / 'two'}#test"), HuggingFaceSource)
    for spec in (f"hf:{tmp_path / 'one'}:heldout", f"{tmp_path / 'one'}#heldout"):
        with pytest.raises(ValueError, match="the saved dataset is one split, .*, not 'heldout': leave the split out"):
            open_source(spec)
    with pytest.raises(ValueError, match="choose one of train, test"):
        open_source(f"hf:{tmp_path / 'two'}")
    with pytest.raises(ValueError, match="none of the columns"):
        made.remove_columns("img").save_to_disk(str(tmp_path / "three"))
        open_source(str(tmp_path / "three"))


def test_hugging_face_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match="pip install"):
        open_source("hf:anything")


def test_opened_images_can_be_sources() -> None:
    assert Numbered(2).read(1).image.getpixel((0, 0)) == (1, 1, 1)
    assert isinstance(Numbered(2).picture(1), Image.Image)
