"""Image codecs as baselines: a picture to the bytes of a whole file and back, smaller if asked for.

    picture (H, W) --bicubic--> (H/s, W/s) --encode at a quality--> file --decode--> (H/s, W/s) --bicubic--> (H, W)

Codecs have a smallest file: shrinking the picture first takes them as low as they go.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import PIL
from PIL import Image, features

from openflextok.config import nearest

RESIZE = Image.Resampling.BICUBIC
GREY = (128, 128, 128)


@dataclass(frozen=True)
class Codec:
    """One file format as Pillow writes it."""

    name: str
    format: str
    """What Pillow calls it."""
    options: Mapping[str, Any]
    """Of every file; the quality comes with each."""
    version: Callable[[], str]
    """Of the library that codes; ImportError with the remedy where there is none."""
    best: Mapping[str, Any] = field(default_factory=dict)
    """More options at quality 100, where the format has no lossy one."""


def _pillow(module: str) -> Callable[[], str]:
    def version() -> str:
        found = features.version(module)
        if found is None:
            raise ImportError(f"this Pillow was built without {module}: install a wheel of Pillow from PyPI")
        return f"{module} {found}, Pillow {PIL.__version__}"

    return version


def _jpeg_xl() -> str:
    try:
        import pillow_jxl  # noqa: F401  # pyright: ignore[reportMissingImports]  # registers the format
    except ImportError:
        raise ImportError("Pillow has no JPEG XL of its own: pip install 'openflextok[jxl]'") from None
    return f"pillow-jxl-plugin {metadata.version('pillow-jxl-plugin')}, Pillow {PIL.__version__}"


CODECS = {
    "jpeg": Codec("JPEG", "JPEG", {"optimize": True, "subsampling": "4:2:0"}, _pillow("libjpeg_turbo")),
    "webp": Codec("WebP", "WEBP", {"method": 6}, _pillow("webp")),
    "avif": Codec("AVIF", "AVIF", {"speed": 6, "max_threads": 1}, _pillow("avif")),
    "jxl": Codec("JPEG XL", "JXL", {"effort": 9, "num_threads": 1}, _jpeg_xl, {"lossless": True}),
}


def find_codec(name: str) -> Codec:
    """A codec by its short name; ValueError for an unknown one."""
    if name not in CODECS:
        raise ValueError(f"no codec {name!r}{nearest(name, CODECS)}")
    return CODECS[name]


def shrunk(size: tuple[int, int], shrink: int) -> tuple[int, int]:
    """A size with its sides divided, rounded down; ValueError where nothing is left."""
    small = size[0] // shrink if shrink > 0 else 0, size[1] // shrink if shrink > 0 else 0
    if min(small) < 1:
        raise ValueError(f"cannot shrink {size[0]} x {size[1]} pixels by {shrink}: give 1 to {min(size)}")
    return small


def encode(codec: Codec, picture: Image.Image, quality: int, shrink: int = 1) -> bytes:
    """The whole file of a picture whose sides were divided by `shrink`."""
    size = shrunk(picture.size, shrink)
    small = picture if size == picture.size else picture.resize(size, RESIZE)
    file = io.BytesIO()
    best = codec.best if quality == 100 else {}
    small.save(file, codec.format, quality=quality, **codec.options, **best)
    return file.getvalue()


def decode(codec: Codec, file: bytes, size: tuple[int, int]) -> Image.Image:
    """The picture in a file at size (width, height)."""
    with Image.open(io.BytesIO(file), formats=(codec.format,)) as opened:
        picture = opened.convert("RGB")
    return picture if picture.size == size else picture.resize(size, RESIZE)


def empty_bytes(codec: Codec, size: tuple[int, int], quality: int, shrink: int) -> int:
    """Size of the file of a grey picture (width, height): headers, tables and empty blocks."""
    return len(encode(codec, Image.new("RGB", size, GREY), quality, shrink))
