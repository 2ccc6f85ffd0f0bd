"""The plan of a set of tokens: all that its files follow from, written to `job.json` before anything else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from openflextok.config import ConfigError, from_dict
from openflextok.data.base import ImageSource
from openflextok.data.transforms import check_scale
from openflextok.tokenizer import Tokenizer

JOB = "job.json"
FORMAT = "openflextok-token-set-1"
T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """What is encoded, by what, and how: with the same plan, every shard has the same bytes on the same machine."""

    format: Literal["openflextok-token-set-1"]
    data: str
    """The line for `open_source`."""
    images: int
    """Pictures of the source, readable or not."""
    names: str
    """SHA-256 of all their names in order: the numbers of pictures mean something only while it stays."""
    tokenizer: str
    """Built-in name, folder or Hub id."""
    fingerprint: str
    codebook_size: int
    num_tokens: int
    image_size: tuple[int, int]
    """Height and width in pixels of what is encoded."""
    crops: int
    """Per picture: 1 is the centre crop, more are random ones."""
    crop_scale: tuple[float, float] | None
    """Range of the side of a random crop, as a share of the largest that fits."""
    flip: bool
    """Whether half of the random crops are mirrored."""
    seed: int
    precision: Literal["fp32", "bf16"]
    shard_size: int
    """Pictures per shard, readable or not."""
    batch_size: int
    """Crops encoded at a time: part of the plan, because rounding may differ between batch sizes."""

    def __post_init__(self) -> None:
        counts = {"images": self.images, "crops": self.crops, "shard size": self.shard_size}
        for name, count in (counts | {"batch size": self.batch_size}).items():
            if count < 1:
                raise ValueError(f"{name} {count} is impossible: give 1 or more")
        if self.seed < 0:
            raise ValueError(f"seed {self.seed} is impossible: give 0 or more")
        if self.crops > 1 and self.crop_scale is None:
            raise ValueError(f"{self.crops} crops of a picture need a crop scale, such as 0.8 1.0")
        if self.crops == 1 and (self.crop_scale is not None or self.flip):
            raise ValueError("one crop is the centre crop, with no scale and no flip: give 2 crops or more")
        if self.crop_scale is not None:
            check_scale(self.crop_scale)
        if self.codebook_size > 1 << 32:
            raise ValueError(f"ids below {self.codebook_size} do not fit 4 bytes: token sets hold at most 2^32 codes")

    @property
    def dtype(self) -> np.dtype[Any]:
        """What an id is stored as: two bytes where the codebook allows it, else four."""
        return np.dtype("<u2" if self.codebook_size <= 1 << 16 else "<u4")

    @property
    def shards(self) -> int:
        return -(-self.images // self.shard_size)

    def pictures(self, shard: int) -> range:
        """The numbers of the pictures that belong to a shard."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.images))

    def digest(self) -> str:
        """Sixteen hex digits that stand for the whole plan; every shard carries them."""
        return hashlib.sha256(to_json(self).encode()).hexdigest()[:16]


def make_plan(
    data: str,
    source: ImageSource,
    name: str,
    tokenizer: Tokenizer,
    *,
    crops: int = 1,
    crop_scale: tuple[float, float] | None = None,
    flip: bool | None = None,
    seed: int = 0,
    precision: str = "fp32",
    shard_size: int = 4096,
    batch_size: int = 32,
) -> Plan:
    """The plan for a source (as its line says) and a tokenizer (as its name says).

    crop_scale, flip: of random crops, hence only with crops >= 2; then 0.8..1 and True if not given.
    Raises ValueError for impossible numbers, a precision that is neither fp32 nor bf16, or an empty source.
    """
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"unknown precision {precision!r}: choose fp32 or bf16")
    if crops == 1 and crop_scale is not None:
        raise ValueError(f"crop scale {crop_scale} needs random crops: give --crops 2 or more")
    if crops == 1 and flip:
        raise ValueError("flip is for random crops: give --crops 2 or more")
    return Plan(
        FORMAT, data, len(source), names_digest(source),
        name, tokenizer.fingerprint(), tokenizer.quantizer.codebook_size, tokenizer.num_tokens, tokenizer.image_size,
        crops, (crop_scale or (0.8, 1.0)) if crops > 1 else None, crops > 1 and flip is not False, seed,
        precision, shard_size, batch_size,
    )  # fmt: skip


def names_digest(source: ImageSource) -> str:
    """SHA-256 over the names of all pictures, in order."""
    digest = hashlib.sha256()
    for index in range(len(source)):
        digest.update(source.name(index).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def differences(before: Plan, after: Plan) -> list[str]:
    """'seed (0, now 1)' for every entry in which two plans differ."""
    old, new = dataclasses.asdict(before), dataclasses.asdict(after)
    return [f"{name} ({old[name]}, now {new[name]})" for name in old if old[name] != new[name]]


def to_json(content: Any) -> str:
    """A dataclass as JSON text; the same content gives the same bytes."""
    return json.dumps(dataclasses.asdict(content), indent=1, allow_nan=False) + "\n"


def from_json(kind: type[T], path: Path) -> T:
    """A dataclass out of a file that `to_json` made; ValueError names the entry that is wrong."""
    try:
        return from_dict(kind, json.loads(path.read_text()), "")
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again") from None
    except ConfigError as error:
        raise ValueError(f"{path} is not of this format ({error}): tokenize again with this version") from None
