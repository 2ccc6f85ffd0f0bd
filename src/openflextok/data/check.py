"""A look at the data before any training: counts, sizes, kinds, damage, words, and how the work is shared out."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from PIL import Image

from openflextok.data.base import ImageSource
from openflextok.data.shards import ShardSource
from openflextok.data.sources import open_source
from openflextok.pixels import ImageError, read_image

SHOWN = 20  # damaged pictures named in the text


@dataclass(frozen=True)
class Spread:
    """The smallest, the middle and the largest of some numbers; all 0 where there are none."""

    smallest: float = 0
    middle: float = 0
    largest: float = 0

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(min(values), median(values), max(values)) if values else cls()

    def __str__(self) -> str:
        return f"{self.smallest:g} / {self.middle:g} / {self.largest:g}"


@dataclass(frozen=True)
class Report:
    """What `check` found."""

    pictures: int
    """Pictures in the source."""
    looked_at: int
    """Pictures that were decoded."""
    corrupt: tuple[str, ...]
    """One line for each picture that cannot be read."""
    width: Spread
    """Upright, pixels."""
    height: Spread
    modes: dict[str, int]
    """Format and colour mode as stored, with counts: `JPEG RGB`."""
    smaller: int
    """Pictures with fewer pixels than the wanted size in height or width: they would be enlarged."""
    labelled: int
    classes: int
    captioned: int
    shards: tuple[int, ...]
    """Pictures in each shard; empty for other sources."""
    damage: tuple[str, ...]
    """One line for each shard of which pictures are missing."""
    image_size: tuple[int, int]
    batch_size: int
    """Pictures per step over all processes."""
    workers: int
    """Loading processes per training process."""
    world: int
    """Training processes."""

    @property
    def steps_per_epoch(self) -> float:
        """Steps until every picture was seen once."""
        return self.pictures / self.batch_size

    def warnings(self) -> list[str]:
        """Everything that deserves attention before training, one line each."""
        height, width = self.image_size
        shards, batch = len(self.shards), self.batch_size
        readers = max(1, self.workers) * self.world
        found = (
            (self.corrupt, f"{len(self.corrupt)} pictures cannot be read: training logs them and takes others"),
            (self.smaller, f"{self.smaller} pictures are smaller than {height} x {width} and would be enlarged"),
            (batch % self.world, f"batch size {batch} is no multiple of {self.world} processes"),
            (batch > self.pictures, f"batch size {batch} is larger than the set: one batch would hold pictures twice"),
            (
                0 < shards < readers,
                f"{shards} shards for {readers} loading processes: this loader reads any picture from any shard and "
                "loses nothing, but a program that hands out whole shards would leave some idle",
            ),
        )
        return [*self.damage, *(text for present, text in found if present)]

    def __str__(self) -> str:
        modes = ", ".join(f"{mode} {count}" for mode, count in sorted(self.modes.items(), key=lambda item: -item[1]))
        share = self.batch_size / self.world
        lines = [
            f"pictures    {self.pictures} ({self.looked_at} looked at)",
            f"unreadable  {len(self.corrupt)}",
            f"width       {self.width} (smallest / middle / largest)",
            f"height      {self.height}",
            f"stored as   {modes or '-'}",
            f"labels      {self.labelled} of {self.looked_at}, {self.classes} classes",
            f"captions    {self.captioned} of {self.looked_at}",
            f"work        batch {self.batch_size} = {self.world} processes x {share:g} pictures; "
            f"{self.workers} loading processes each; {self.steps_per_epoch:.1f} steps see every picture once",
        ]
        if self.shards:
            readers = max(1, self.workers) * self.world
            each = f"{Spread.of(self.shards)} pictures each; {len(self.shards) / readers:.2f} per loading process"
            lines.append(f"shards      {len(self.shards)} with {each}")
        lines += [f"warning     {text}" for text in self.warnings()]
        lines += [f"  {line}" for line in self.corrupt[:SHOWN]]
        if len(self.corrupt) > SHOWN:
            lines.append(f"  ... and {len(self.corrupt) - SHOWN} more")
        return "\n".join(lines)


@dataclass(frozen=True)
class _Look:
    error: str | None
    mode: str = ""
    size: tuple[int, int] = (0, 0)


def check(
    source: ImageSource | str,
    *,
    image_size: tuple[int, int] = (256, 256),
    batch_size: int = 256,
    workers: int = 1,
    world: int = 1,
    limit: int = 0,
) -> Report:
    """Decode every picture of a source (or `limit` of them, evenly spread) and report what is there.

    source: a source, or a line for `open_source`. image_size: (height, width) wanted in training.
    workers, world: the loading processes per training process, and the training processes, that are planned.
    """
    if min(*image_size, batch_size, world) < 1 or min(workers, limit) < 0:
        raise ValueError("image size, batch size and world must be 1 or more, workers and limit 0 or more")
    opened = open_source(source) if isinstance(source, str) else source
    count = len(opened)
    chosen = range(count) if not 0 < limit < count else [place * count // limit for place in range(limit)]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        looks = list(pool.map(lambda index: _look(opened, index), chosen))
    words = [opened.words(index) for index in chosen]
    good = [look for look in looks if look.error is None]
    height, width = image_size
    return Report(
        pictures=count,
        looked_at=len(looks),
        corrupt=tuple(look.error for look in looks if look.error is not None),
        width=Spread.of([look.size[0] for look in good]),
        height=Spread.of([look.size[1] for look in good]),
        modes=dict(Counter(look.mode for look in good)),
        smaller=sum(look.size[0] < width or look.size[1] < height for look in good),
        labelled=sum(word.label is not None for word in words),
        classes=len({word.label for word in words} - {None}),
        captioned=sum(word.caption is not None for word in words),
        shards=tuple(opened.sizes()) if isinstance(opened, ShardSource) else (),
        damage=tuple(opened.damage) if isinstance(opened, ShardSource) else (),
        image_size=image_size,
        batch_size=batch_size,
        workers=workers,
        world=world,
    )


def _look(source: ImageSource, index: int) -> _Look:
    try:
        stored = source.picture(index)
        data = stored.read_bytes() if isinstance(stored, Path) else stored
        size = read_image(data, source.name(index)).size
        return _Look(None, _mode(data), size)
    except ImageError as error:
        return _Look(str(error))
    except OSError as error:
        return _Look(f"{source.name(index)}: cannot be read ({error}); check the path and the disk")


def _mode(data: bytes | Image.Image) -> str:
    if isinstance(data, Image.Image):
        return f"{data.format or 'image'} {data.mode}"
    with Image.open(io.BytesIO(data)) as opened:
        frames = " animated" if getattr(opened, "is_animated", False) else ""
        return f"{opened.format} {opened.mode}{frames}"
