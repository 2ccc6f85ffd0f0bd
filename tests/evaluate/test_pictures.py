"""Grids put every picture where it belongs."""

import pytest
from PIL import Image

from openflextok.evaluate.pictures import GAP, picture_grid, picture_rows, text_tile

COLOURS = [["red", "lime"], ["blue", "black"]]


def tiles(colours: list[str]) -> list[Image.Image]:
    return [Image.new("RGB", (20, 10), colour) for colour in colours]


def found(canvas: Image.Image, left: int, top: int) -> set[tuple[int, ...]]:
    return set(canvas.crop((left, top, left + 20, top + 10)).get_flattened_data())  # pyright: ignore


@pytest.mark.parametrize("names", [("first", "second"), ("", "")])
def test_rows(names: tuple[str, str]) -> None:
    canvas = picture_rows([(name, tiles(row)) for name, row in zip(names, COLOURS, strict=True)])
    header = (canvas.height - GAP) // 2 - 10 - GAP
    assert (header > 0) == bool(names[0])
    for r, row in enumerate(COLOURS):
        for c, colour in enumerate(row):
            left, top = GAP + c * (20 + GAP), r * (header + 10 + GAP) + header + GAP
            assert found(canvas, left, top) == {Image.new("RGB", (1, 1), colour).getpixel((0, 0))}


def test_grid_columns() -> None:
    canvas = picture_grid([("", tiles(column)) for column in COLOURS])
    for c, column in enumerate(COLOURS):
        for r, colour in enumerate(column):
            top = canvas.height - (2 - r) * (10 + GAP)
            assert found(canvas, GAP + c * (20 + GAP), top) == {Image.new("RGB", (1, 1), colour).getpixel((0, 0))}


def test_text_tiles_show_their_text() -> None:
    tile, other = text_tile("a red bus", (96, 32)), text_tile("a red car", (96, 32))
    assert tile.size == (96, 32) and tile.getcolors(10_000) != [(96 * 32, (255, 255, 255))]
    assert tile.tobytes() != other.tobytes()
    assert text_tile("", (8, 8)).getcolors() == [(64, (255, 255, 255))]
