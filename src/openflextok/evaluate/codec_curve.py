"""The curve of a codec: how good images are in how many bytes, at every quality and picture size.

    reference -> pictures -> encode, decode (a point per quality and size) -> metrics -> mean, interval

Shapes: B images of a batch, H height, W width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor

from openflextok.evaluate.bootstrap import mean_interval
from openflextok.evaluate.codecs import Codec, decode, empty_bytes, encode, shrunk
from openflextok.evaluate.fronts import best_within, sized
from openflextok.evaluate.measuring import shown_places
from openflextok.evaluate.metric_names import metric_name
from openflextok.evaluate.metric_table import PAIRS, PairMeasure
from openflextok.evaluate.pictures import picture_grid
from openflextok.evaluate.reference import Reference
from openflextok.evaluate.results import Figure, Protocol, Result, Setting, Subject
from openflextok.pixels import to_float, to_uint8_tensor

QUALITIES = (0, 1, 5, 10, 20, 30, 50, 70, 90)
SHRINKS = (1, 2, 4, 8)
BATCH = 16
MOST_COLUMNS = 7  # of a picture to look at


@dataclass
class _Point:
    """What was measured at one quality and size."""

    quality: int
    shrink: int
    sizes: list[Tensor] = field(default_factory=list)
    values: dict[str, list[Tensor]] = field(default_factory=dict)
    files: hashlib._Hash = field(default_factory=hashlib.sha256)

    @property
    def bytes(self) -> float:
        return torch.cat(self.sizes).double().mean().item()


def codec_curve(
    codec: Codec,
    reference: Reference,
    protocol: Protocol,
    measures: Mapping[str, PairMeasure],
    qualities: Sequence[int] = QUALITIES,
    shrinks: Sequence[int] = SHRINKS,
    tick: Callable[[int], None] = lambda images: None,
) -> Result:
    """Figures of every quality and size; `measures` by the names of PAIRS; `tick` hears of images as they are done.

    A quality whose files are those of the one before it, byte for byte, is left out.
    """
    check_points(qualities, shrinks, reference.image_size)
    version = codec.version()
    points = [_Point(quality, shrink) for shrink in shrinks for quality in qualities]
    for stretch in reference.batches(BATCH):
        pictures = [Image.fromarray(pixels) for pixels in stretch.pixels_BHWC.numpy()]
        original_BCHW = to_float(stretch.pixels_BHWC)
        for point in points if pictures else ():
            _measure(codec, point, pictures, original_BCHW, measures)
        tick(len(stretch.places) + len(stretch.unreadable))
    distinct = {(point.shrink, point.files.digest()): point for point in reversed(points)}
    kept = list(distinct.values())[::-1]
    settings = (
        *(Setting(name, str(value)) for name, value in codec.options.items()),
        Setting("qualities", ", ".join(map(str, qualities))),
        Setting("sides divided by", f"{', '.join(map(str, shrinks))} (bicubic down and, after decoding, up)"),
        Setting("coded by", version),
    )
    figures = [figure for point in kept for figure in _figures(codec, point, reference.image_size, measures)]
    note = "Bytes are whole files; file without content is the size of the file of a grey picture at the same settings."
    return Result(protocol, Subject(codec.name, "codec", "", settings), tuple(figures), (note,))


def check_points(qualities: Sequence[int], shrinks: Sequence[int], image_size: tuple[int, int]) -> None:
    """Raise ValueError for qualities outside of 0 to 100, sizes without pixels, or none of them."""
    if not qualities or not shrinks or not all(0 <= quality <= 100 for quality in qualities):
        raise ValueError(
            f"qualities {list(qualities)} and sides divided by {list(shrinks)}: give some, 0 <= quality <= 100"
        )
    for shrink in shrinks:
        shrunk(image_size, shrink)


def _measure(
    codec: Codec, point: _Point, pictures: list[Image.Image], original_BCHW: Tensor, measures: Mapping[str, PairMeasure]
) -> None:
    files = [encode(codec, picture, point.quality, point.shrink) for picture in pictures]
    for file in files:
        point.files.update(file)
    point.sizes.append(torch.tensor([len(file) for file in files]))
    decoded = [decode(codec, file, pictures[0].size) for file in files]
    rebuilt_BCHW = to_float(torch.stack([to_uint8_tensor(picture) for picture in decoded]))
    for name, measure in measures.items():
        with torch.no_grad():
            columns = measure.compute(original_BCHW, rebuilt_BCHW).double().T
        for figure, values_B in zip(PAIRS[name].figures, columns, strict=True):
            point.values.setdefault(figure, []).append(values_B)


def _figures(
    codec: Codec, point: _Point, image_size: tuple[int, int], measures: Mapping[str, PairMeasure]
) -> list[Figure]:
    height, width = image_size
    size, images = point.bytes, len(torch.cat(point.sizes))
    empty = empty_bytes(codec, (width, height), point.quality, point.shrink)
    made_with = {"quality": point.quality, "coded_height": height // point.shrink, "empty_bytes": empty}
    found = [Figure(metric, value, images, bytes=size) for metric, value in made_with.items()]
    for name, measure in measures.items():
        for metric in PAIRS[name].figures:
            values_N = torch.cat(point.values[metric])
            low, high = mean_interval(values_N)
            found.append(Figure(metric, values_N.mean().item(), images, low, high, bytes=size, network=measure.network))
    return found


def codec_pictures(codec: Codec, result: Result, reference: Reference) -> Image.Image:
    """The pictures that `evaluate reconstruct` shows, too, at sizes from the smallest file to the largest."""
    places = sorted(shown_places(len(reference)))
    found = [pixels for place in places for pixels in next(reference.batches(1, place, place + 1)).pixels_BHWC]
    pictures = [Image.fromarray(pixels.numpy()) for pixels in found]
    columns = [("original", pictures)]
    for figure in _columns(result):
        quality, height = (_setting(result, figure, name) for name in ("quality", "coded_height"))
        shrink = reference.image_size[0] // height
        label = f"{figure.bytes:.0f} bytes\n{height} px, quality {quality}"
        files = [encode(codec, picture, quality, shrink) for picture in pictures]
        columns.append((label, [decode(codec, file, pictures[0].size) for file in files]))
    return picture_grid(columns)


def _columns(result: Result) -> tuple[Figure, ...]:
    """The best points of the first metric within sizes that grow by equal factors."""
    first = next(figure for figure in result.figures if metric_name(figure.metric).group == "pairs")
    figures = sized(result, first.metric, first.network)
    low, high = (figure.bytes or 1.0 for figure in (figures[0], figures[-1]))
    limits = [low * (high / low) ** (step / (MOST_COLUMNS - 1)) for step in range(MOST_COLUMNS - 1)]
    found = [best_within(figures, limit) for limit in (*limits, high)]
    return tuple(dict.fromkeys(figure for figure in found if figure is not None))


def _setting(result: Result, point: Figure, metric: str) -> int:
    return next(round(f.value) for f in result.of(metric) if f.bytes == point.bytes)
