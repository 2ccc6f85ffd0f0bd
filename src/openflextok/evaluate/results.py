"""Results and their protocol cards: what was measured, against what, and how.

    results/NAME.json    one measured thing: {"format", "protocol", "subject", "figures", "pictures"}
    results/NAME.webp    its pictures, where it has some

Figures of two results stand in one column of a table only where their protocols are equal.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from openflextok.config import ConfigError, from_dict, to_dict
from openflextok.files import write_atomic

FORMAT = "openflextok-result-1"


class ResultError(ValueError):
    """A results file that cannot be read."""


@dataclass(frozen=True)
class Network:
    """A feature network: two of one name and other weights are not the same."""

    name: str
    sha256: str
    """Over the names and values of its weights, or of the ONNX file that holds it; and over its settings where it has some."""

    @classmethod
    def of(cls, name: str, *digests: str) -> Network:
        """A network whose numbers depend on several things: its weights, its settings, what it is given."""
        return cls(name, hashlib.sha256(" ".join(digests).encode()).hexdigest())


@dataclass(frozen=True)
class Protocol:
    """What figures were measured against, and how: all of it must be equal before two of them are compared."""

    task: Literal["reconstruct", "generate", "probe"]
    """Images rebuilt and compared with themselves, new images compared with a reference set, or classes read off tokens."""
    reference: str
    """The images compared with, as their source is written."""
    split: str
    reference_sha256: str
    """Over the 8-bit pixels of all their crops, in order; of a probe, over the names and labels of both its sets."""
    reference_images: int
    images: int
    """Images measured."""
    image_size: tuple[int, int]
    """Height and width in pixels of what is compared."""
    crop: str
    resize_filter: str
    rounding: str
    """How floats became what is compared."""
    code: str
    """Version of this library."""


@dataclass(frozen=True)
class Setting:
    """One thing that the measured images depend on."""

    name: str
    value: str


@dataclass(frozen=True)
class Subject:
    """What was measured, and how its images were made."""

    name: str
    kind: Literal["tokenizer", "generator", "codec"]
    fingerprint: str = ""
    """Of the tokenizer."""
    settings: tuple[Setting, ...] = ()
    """Steps, guidance, seeds, temperature, quality, ..."""


@dataclass(frozen=True)
class Figure:
    """One number: a mean over images, or a distance of sets."""

    metric: str
    """"psnr", "lpips-alex", "frechet", ..."""
    value: float
    images: int
    """Images, or words or faces in them, behind this number."""
    low: float | None = None
    """Lower end of the 95 % bootstrap interval over images."""
    high: float | None = None
    spread: float | None = None
    """Standard deviation of `value` over decoding seeds."""
    length: int | None = None
    """Tokens kept; none where that has no meaning."""
    bytes: float | None = None
    """Mean bytes of an image at this point of a curve."""
    network: Network | None = None
    """The feature network behind it; figures of other networks are other metrics."""


@dataclass(frozen=True)
class Result:
    """One measured thing with its protocol card."""

    protocol: Protocol
    subject: Subject
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()
    """What a reader must know of these figures: biases, metrics left out and why."""
    pictures: str = ""
    """File name, beside the JSON, of a picture to look at."""

    def of(self, metric: str) -> tuple[Figure, ...]:
        """The figures of one metric, by length."""
        found = [figure for figure in self.figures if figure.metric == metric]
        return tuple(sorted(found, key=lambda figure: figure.length or 0))


def write_result(path: Path, result: Result) -> None:
    """Write a result as JSON, whole or not at all."""
    data = {"format": FORMAT, **to_dict(result)}
    write_atomic(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def read_result(path: Path) -> Result:
    """Read a result; ResultError says what is wrong with the file."""
    try:
        data = json.loads(path.read_text(), parse_constant=_refuse, parse_float=_finite)
    except (OSError, ValueError) as error:
        raise ResultError(f"{path} cannot be read as a result: {error}") from None
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise ResultError(f"{path} is not a result of `openflextok evaluate` (format {FORMAT!r} expected)")
    try:
        return from_dict(Result, data, "")
    except ConfigError as error:
        raise ResultError(f"{path}: {error}") from None


def _finite(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _refuse(text)


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not a finite number")


def differences(a: Protocol, b: Protocol) -> tuple[str, ...]:
    """Why figures of two protocols are not comparable, one line each; none: they are."""
    pairs = [(field.name, getattr(a, field.name), getattr(b, field.name)) for field in fields(Protocol)]
    return tuple(f"{name}: {one!r} against {other!r}" for name, one, other in pairs if one != other)
