"""Labelled grids of pictures, for people to look at."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

GAP = 4


def picture_grid(columns: Sequence[tuple[str, Sequence[Image.Image]]]) -> Image.Image:
    """Columns of pictures, each under its label (which may have several lines), on white."""
    font = ImageFont.load_default(size=12)
    draw = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    boxes = [draw.multiline_textbbox((0, 0), label, font=font) for label, _ in columns]
    header = GAP + round(max(box[3] for box in boxes))
    widths = [max(pictures[0].width, round(box[2])) + GAP for box, (_, pictures) in zip(boxes, columns, strict=True)]
    heights = [max(row) for row in zip(*([p.height for p in pictures] for _, pictures in columns), strict=True)]
    canvas = Image.new("RGB", (GAP + sum(widths), header + GAP + sum(heights) + GAP * len(heights)), "white")
    draw = ImageDraw.Draw(canvas)
    left = GAP
    for width, (label, pictures) in zip(widths, columns, strict=True):
        draw.multiline_text((left, 0), label, fill="black", font=font)
        top = header + GAP
        for height, picture in zip(heights, pictures, strict=True):
            canvas.paste(picture, (left, top))
            top += height + GAP
        left += width
    return canvas


def text_tile(text: str, size: tuple[int, int]) -> Image.Image:
    """A white tile (width, height) with a few words in its middle, broken into lines."""
    tile = Image.new("RGB", size, "white")
    lines = textwrap.wrap(text, max(1, size[0] // 8))
    font, middle = ImageFont.load_default(size=12), (size[0] / 2, size[1] / 2)
    ImageDraw.Draw(tile).multiline_text(middle, "\n".join(lines), fill="black", font=font, anchor="mm", align="center")
    return tile


def picture_rows(rows: Sequence[tuple[str, Sequence[Image.Image]]]) -> Image.Image:
    """Rows of pictures, each below its label where it has one, on white."""
    font = ImageFont.load_default(size=12)
    header = GAP + font.getbbox("Ag")[3] if any(label for label, _ in rows) else 0
    heights = [GAP + round(header) + max(p.height for p in pictures) for _, pictures in rows]
    width = GAP + max(sum(p.width + GAP for p in pictures) for _, pictures in rows)
    canvas = Image.new("RGB", (width, sum(heights) + GAP), "white")
    draw, top = ImageDraw.Draw(canvas), 0
    for height, (label, pictures) in zip(heights, rows, strict=True):
        draw.text((GAP, top), label, fill="black", font=font)
        left = GAP
        for picture in pictures:
            canvas.paste(picture, (left, top + GAP + round(header)))
            left += picture.width + GAP
        top += height
    return canvas
