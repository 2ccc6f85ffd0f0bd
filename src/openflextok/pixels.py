"""From any picture file to clean RGB pixels and back: the one place that knows about image modes and broken files.

path | bytes | PIL | array --read_image--> PIL RGB --center_crop--> PIL RGB --to_uint8_tensor--> uint8 (H, W, 3)
uint8 (B, H, W, 3) --to_float--> float (B, 3, H, W) in [-1, 1] --to_uint8--> uint8, or --to_pil--> list of PIL RGB
"""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

PIXEL_LIMIT = 100_000_000  # pixels in one picture: beyond it a small file could fill the memory
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF", "ICO")  # none runs a program
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, struct.error, RuntimeError)


class ImageError(ValueError):
    """A picture that cannot be read; the message is one line: which picture, what is wrong, what to do."""


def read_image(source: Path | str | bytes | np.ndarray | Image.Image, name: str | None = None) -> Image.Image:
    """The first frame of a picture as upright RGB.

    EXIF rotation is applied; CMYK, 16-bit and float pictures become 8-bit RGB; transparency is put on white.

    source: a file, the bytes of a file, a PIL image (its current frame; never changed), or a uint8 array (H, W, 3).
    name: what messages call it; none means the path, or the kind of source.
    Raises ImageError with one line for all that is not a whole picture of at most `PIXEL_LIMIT` pixels.
    """
    name = name or describe(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata; sizes are checked below
            if isinstance(source, np.ndarray):
                source = _of_array(source, name)
            if isinstance(source, Image.Image):
                return _normalise(source, name)
            with _open(source, name) as opened:
                return _normalise(opened, name)
    except ImageError:
        raise
    except Image.DecompressionBombError:
        raise ImageError(f"{name}: {_over_limit()}") from None
    except MemoryError:
        raise ImageError(f"{name}: not enough memory to decode it; make it smaller or remove it") from None
    except _DECODER_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(f"{name}: damaged or cut off ({reason}); replace or remove it") from None


def describe(source: object) -> str:
    """A short name of a picture source for messages: its path, or what it is."""
    if isinstance(source, (str, Path)):
        return str(source)
    if isinstance(source, bytes):
        return f"<{len(source)} bytes>"
    return str(getattr(source, "filename", "") or f"<{type(source).__name__}>")


def _open(source: Path | str | bytes, name: str) -> Image.Image:
    if not isinstance(source, (str, Path, bytes)):
        raise ImageError(
            f"{name}: cannot be read as a picture; give a path, the bytes of a file, a PIL image, or a uint8 array"
        )
    data = source if isinstance(source, bytes) else _read_file(Path(source), name)
    if not data:
        raise ImageError(f"{name}: empty file (0 bytes); replace or remove it")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError:
        known = ", ".join(FORMATS[:6])
        raise ImageError(f"{name}: not a picture, or one of unknown format; give {known}, or remove it") from None


def _of_array(pixels: np.ndarray, name: str) -> Image.Image:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise ImageError(f"{name}: an array of {pixels.dtype} {pixels.shape}; give uint8 (H, W, 3)")
    return Image.fromarray(pixels)


def _read_file(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file; check the path") from None
    except IsADirectoryError:
        raise ImageError(f"{name}: a folder, not a picture; give one file") from None
    except PermissionError:
        raise ImageError(f"{name}: permission denied; make the file readable") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: cannot be opened ({error}); check the path") from None


def _over_limit() -> str:
    return f"more than the limit of {PIXEL_LIMIT // 10**6} million pixels; make it smaller or remove it"


def _normalise(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    if width < 1 or height < 1:
        raise ImageError(f"{name}: has no pixels ({width} x {height}); replace or remove it")
    if width * height > PIXEL_LIMIT:
        raise ImageError(f"{name}: {width} x {height} pixels, {_over_limit()}")
    image.load()
    return _to_rgb(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    """A copy turned and mirrored as its EXIF orientation asks; unreadable EXIF counts as none."""
    try:
        return ImageOps.exif_transpose(image)
    except _DECODER_ERRORS:
        return image.copy()


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep_to_rgb(image)
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, picture).convert("RGB")
    return image.convert("RGB")


def _deep_to_rgb(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float greys as 8-bit RGB: white is 65535, or in other modes what the values suggest."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    white = 65535.0 if image.mode.startswith("I;16") else _white_of(float(values.max()))
    grey = np.rint(values.clip(0.0, white) * (255.0 / white)).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _white_of(largest: float) -> float:
    """The smallest customary white (1, 255, 65535) not below the largest value, or that value itself."""
    return next((white for white in (1.0, 255.0, 65535.0) if largest <= white), largest)


def cover_box(size: tuple[int, int], shape: tuple[int, int], x: float, y: float) -> tuple[float, float, float, float]:
    """The largest box of the aspect of `shape` inside a picture, at x, y in [0, 1] of the free way.

    size: (width, height) of the picture, as PIL gives it. shape: (height, width) wanted.
    Returns (left, top, right, bottom) in picture pixels, not rounded.
    """
    scale = min(size[0] / shape[1], size[1] / shape[0])
    width, height = min(size[0], shape[1] * scale), min(size[1], shape[0] * scale)
    left, top = x * (size[0] - width), y * (size[1] - height)
    return left, top, left + width, top + height


def center_crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of a picture at size (height, width): as if its short side were resized (bicubic) and the rest cut."""
    box = cover_box(image.size, size, 0.5, 0.5)
    return image.resize((size[1], size[0]), Image.Resampling.BICUBIC, box=box)


def to_uint8_tensor(image: Image.Image) -> torch.Tensor:
    """An RGB picture as a uint8 tensor (height, width, 3)."""
    return torch.from_numpy(np.array(image.convert("RGB"), dtype=np.uint8))


def to_float(images_BHWC: torch.Tensor) -> torch.Tensor:
    """uint8 (B, H, W, 3) as float32 (B, 3, H, W): 0 becomes -1 and 255 becomes 1."""
    return images_BHWC.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1.0).contiguous()


def to_uint8(images_BCHW: torch.Tensor) -> torch.Tensor:
    """Float pictures (B, 3, H, W) in [-1, 1] as uint8 (B, H, W, 3) on the CPU: clamped, rounded half to even.

    Raises ValueError for another shape or for NaN.
    """
    if images_BCHW.ndim != 4 or images_BCHW.shape[1] != 3 or not images_BCHW.is_floating_point():
        have = f"{images_BCHW.dtype} {tuple(images_BCHW.shape)}"
        raise ValueError(f"cannot show {have} as pictures: give a float tensor (batch, 3, height, width) in [-1, 1]")
    values = images_BCHW.detach().to("cpu", torch.float32)
    bad = [index for index, image in enumerate(values) if bool(image.isnan().any())]
    if bad:
        raise ValueError(f"cannot show pictures {bad} of {len(values)}: they hold NaN; check the input and the weights")
    return values.add(1.0).mul(127.5).round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def to_pil(images_BCHW: torch.Tensor) -> list[Image.Image]:
    """Float pictures (B, 3, H, W) in [-1, 1] as PIL RGB, made as by `to_uint8`."""
    return [Image.fromarray(image) for image in to_uint8(images_BCHW).numpy()]
