"""The curve of a codec: how good images are in how many bytes, at every quality and picture size.

    reference -> pictures -> encode, decode (a point per quality and size) -> metrics -> mean, interval

Shapes: B images, H height, W width, P points.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from openflextok.evaluate.bootstrap import mean_interval
from openflextok.evaluate.codecs import Codec, decode, empty_bytes, encode, shrunk
from openflextok.evaluate.fronts import best_within, settings_of, sized
from openflextok.evaluate.job import Job, Plan
from openflextok.evaluate.measuring import Instruments, shown_places
from openflextok.evaluate.metric_names import metric_name
from openflextok.evaluate.metric_table import PAIRS, PairMeasure
from openflextok.evaluate.parts import Part, Parts
from openflextok.evaluate.pictures import picture_grid
from openflextok.evaluate.reference import Reference, ReferenceBatch, Survey
from openflextok.evaluate.results import Figure, Result, Setting, Subject
from openflextok.pixels import to_float, to_uint8_tensor

BATCH = 16
MOST_COLUMNS = 7  # of a picture to look at
BYTES_NOTE = (
    "Bytes are whole files; file without content is the size of the file of a grey picture at the same settings."
)


@dataclass(frozen=True)
class Point:
    """One point of the curve."""

    quality: int
    shrink: int
    """What the sides are divided by."""


def points_of(qualities: Sequence[int], shrinks: Sequence[int], image_size: tuple[int, int]) -> tuple[Point, ...]:
    """Every quality at every size; ValueError for qualities outside of 0 to 100, sizes without pixels, or none of them."""
    if not qualities or not shrinks or not all(0 <= quality <= 100 for quality in qualities):
        raise ValueError(
            f"qualities {list(qualities)} and sides divided by {list(shrinks)}: give some, 0 <= quality <= 100"
        )
    for shrink in shrinks:
        shrunk(image_size, shrink)
    return tuple(Point(quality, shrink) for shrink in shrinks for quality in qualities)


class CodecCurve(Job):
    """The measurement of one codec at every quality and size.

    A quality whose files are those of the one before it, byte for byte, is left out.
    """

    def __init__(
        self,
        codec: Codec,
        reference: Reference,
        survey: Survey,
        tools: Instruments,
        qualities: Sequence[int],
        shrinks: Sequence[int],
        notes: Sequence[str] = (),
    ) -> None:
        """tools: with metrics of pairs; notes: further ones for the result.

        Raises ValueError for impossible qualities and sizes, ImportError for a codec that is not there.
        """
        self.codec, self.reference, self.survey, self.tools = codec, reference, survey, tools
        self.points = points_of(qualities, shrinks, reference.image_size)
        self.further_notes = tuple(notes)
        settings = (
            *(Setting(name, str(value)) for name, value in codec.options.items()),
            Setting("qualities", ", ".join(map(str, qualities))),
            Setting("sides divided by", f"{', '.join(map(str, shrinks))} (bicubic down and, after decoding, up)"),
            Setting("coded by", codec.version()),
        )
        self.plan = Plan(
            reference.protocol("reconstruct", survey),
            Subject(codec.name, "codec", "", settings),
            (), (), (),
            tuple(tools.pairs),
            tools.networks,
            BATCH,
        )  # fmt: skip

    # -- one stretch --------------------------------------------------------------------------------------------

    def part(self, stretch: ReferenceBatch) -> Part:
        part = Part()
        if not stretch.places:
            return part
        pictures = [Image.fromarray(pixels) for pixels in stretch.pixels_BHWC.numpy()]
        original_BCHW = to_float(stretch.pixels_BHWC)
        sizes, digests, values = [], [], {}
        for point in self.points:
            files = [encode(self.codec, picture, point.quality, point.shrink) for picture in pictures]
            sizes.append([len(file) for file in files])
            digests.append([short_digest(file) for file in files])
            decoded = [to_uint8_tensor(decode(self.codec, file, pictures[0].size)) for file in files]
            for name, measure in self.tools.pairs.items():
                for figure, values_B in zip(
                    PAIRS[name].figures, compared(measure, original_BCHW, decoded), strict=True
                ):
                    values.setdefault(figure, []).append(values_B)
        part.values["file_bytes"] = torch.tensor(sizes, dtype=torch.float64)[:, None]
        part.values |= {figure: torch.stack(found)[:, None] for figure, found in values.items()}
        part.tokens["files"] = torch.tensor(digests).T
        return part

    # -- all of them --------------------------------------------------------------------------------------------

    def result(self, parts: Parts) -> tuple[Result, Image.Image | None]:
        files = {}
        for number, (point, digests_R) in enumerate(zip(self.points, parts.tokens("files").T, strict=True)):
            files.setdefault((point.shrink, *digests_R.tolist()), number)
        figures = [figure for number in files.values() for figure in self.figures(parts, number)]
        unreadable = (f"unreadable: {line}" for line in self.survey.unreadable)
        notes = (BYTES_NOTE, *self.tools.notes, *unreadable, *self.further_notes)
        result = Result(self.plan.protocol, self.plan.subject, tuple(figures), notes)
        return result, codec_pictures(self.codec, result, self.reference)

    def figures(self, parts: Parts, number: int) -> list[Figure]:
        """The figures of one point: what it was made with, then what was measured."""
        point, (height, width) = self.points[number], self.reference.image_size
        sizes_R = parts.values("file_bytes")[number, 0]
        size, images = sizes_R.mean().item(), len(sizes_R)
        empty = empty_bytes(self.codec, (width, height), point.quality, point.shrink)
        made_with = {"quality": point.quality, "coded_height": height // point.shrink, "empty_bytes": empty}
        found = [Figure(metric, value, images, bytes=size) for metric, value in made_with.items()]
        for name, measure in self.tools.pairs.items():
            for metric in PAIRS[name].figures:
                values_R = parts.values(metric)[number, 0]
                value, (low, high) = values_R.mean().item(), mean_interval(values_R)
                found.append(Figure(metric, value, images, low, high, bytes=size, network=measure.network))
        return found


@torch.inference_mode()
def compared(measure: PairMeasure, original_BCHW: Tensor, decoded: Sequence[Tensor]) -> Tensor:
    """(figures, B) of decoded pictures, uint8 (H,W,3) each."""
    return measure.compute(original_BCHW, to_float(torch.stack(list(decoded)))).double().T


def short_digest(file: bytes) -> int:
    """63 bits of a hash, for telling files apart."""
    return int.from_bytes(hashlib.sha256(file).digest()[:8], "big") >> 1


def codec_pictures(codec: Codec, result: Result, reference: Reference) -> Image.Image | None:
    """The pictures that `evaluate reconstruct` shows, too, at sizes from the smallest file to the largest.

    None where none of them can be read.
    """
    places = sorted(shown_places(len(reference)))
    found = [pixels for place in places for pixels in next(reference.batches(1, place, place + 1)).pixels_BHWC]
    if not found:
        return None
    pictures = [Image.fromarray(pixels.numpy()) for pixels in found]
    columns = [("original", pictures)]
    for figure in _columns(result):
        settings = {f.metric: round(f.value) for f in settings_of(result, figure)}
        quality, height = settings["quality"], settings["coded_height"]
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
