"""Every kind of picture file becomes the right pixels, or one clear line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from openflextok.pixels import ImageError, center_crop, cover_box, read_image, to_float, to_pil, to_uint8_tensor

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 274  # number of the EXIF tag


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


UNDO = {  # how a stored picture is made upright, by the EXIF standard, as operations on the array of an upright one
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation: int) -> None:
    upright = np.asarray(noise(3, 5))
    stored = Image.fromarray(np.ascontiguousarray(UNDO[orientation](upright)))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    read = read_image(encoded(stored, exif=exif))
    assert np.array_equal(np.asarray(read), upright)
    opened = Image.open(io.BytesIO(encoded(stored, exif=exif)))
    assert np.array_equal(np.asarray(read_image(opened)), upright)
    assert opened.size == stored.size  # the caller's picture is not changed


def test_broken_exif_counts_as_none() -> None:
    data = encoded(noise(4, 4), "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff")
    assert read_image(data).size == (4, 4)


def test_cmyk() -> None:
    ink = Image.new("CMYK", (2, 1))
    ink.putpixel((0, 0), (0, 255, 255, 0))  # magenta and yellow make red
    assert read_image(ink).getpixel((0, 0)) == RED
    assert read_image(ink).getpixel((1, 0)) == WHITE
    photo = read_image(encoded(Image.new("CMYK", (8, 8), (255, 0, 255, 0)), "JPEG", quality=100))
    assert np.abs(np.asarray(photo, int) - GREEN).max() <= 3


def test_16_bit_ramp() -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)[None]
    expected = np.arange(256)
    for format in ("PNG", "TIFF"):
        read = np.asarray(read_image(encoded(Image.fromarray(ramp), format)))
        assert np.array_equal(read[0, :, 0], expected) and np.array_equal(read[..., 0], read[..., 2])


@pytest.mark.parametrize(("dtype", "white"), [(np.int32, 65535), (np.int32, 255), (np.float32, 1.0), (np.float32, 255)])
def test_deep_greys(dtype: type, white: float) -> None:
    values = np.array([[0, white / 2, white]]).astype(dtype)
    read = np.asarray(read_image(Image.fromarray(values)))[0, :, 0]
    assert read[0] == 0 and read[2] == 255 and abs(int(read[1]) - 127.5) <= 1


def test_float_picture_with_nan_and_negative_values() -> None:
    values = np.array([[np.nan, -3.0, 1.0]], dtype=np.float32)
    assert np.asarray(read_image(Image.fromarray(values)))[0, :, 0].tolist() == [0, 0, 255]


def test_transparency_is_put_on_white() -> None:
    clear = Image.new("RGBA", (1, 1), (255, 0, 0, 0))
    half = Image.new("LA", (1, 1), (0, 128))
    assert read_image(clear).getpixel((0, 0)) == WHITE
    assert read_image(half).getpixel((0, 0)) == (127, 127, 127)


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_palette_with_transparency(format: str) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([*RED, *BLUE])
    picture.putpixel((1, 0), 1)
    read = read_image(encoded(picture, format, transparency=1))
    assert [read.getpixel((x, 0)) for x in (0, 1)] == [RED, WHITE]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_first_frame_of_many(format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    frames = [Image.new("RGB", (8, 8), BLUE)]
    data = encoded(Image.new("RGB", (8, 8), RED), format, save_all=True, append_images=frames, **options)
    assert np.abs(np.asarray(read_image(data), int)[4, 4] - RED).max() <= 2


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "PA", "LA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "I", "F"]
)
def test_all_modes_become_rgb(mode: str) -> None:
    assert read_image(Image.new(mode, (3, 2))).mode == "RGB"


def test_lab_file() -> None:
    lab = ImageCms.profileToProfile(
        Image.new("RGB", (2, 2), GREEN), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None and read_image(encoded(lab, "TIFF")).mode == "RGB"


def test_one_pixel_and_very_wide() -> None:
    assert center_crop(read_image(Image.new("RGB", (1, 1), RED)), (16, 24)).getpixel((23, 15)) == RED
    wide = read_image(encoded(Image.new("RGB", (30_000, 4), GREEN)))
    assert wide.size == (30_000, 4)
    assert center_crop(wide, (64, 64)).getpixel((32, 32)) == GREEN


def bomb() -> bytes:
    """A small file that claims 20,000 x 20,000 pixels."""
    data = bytearray(encoded(Image.new("1", (8, 8)), "BMP"))
    data[18:26] = (20_000).to_bytes(4, "little") * 2
    return bytes(data)


def big() -> bytes:
    data = bytearray(encoded(Image.new("1", (8, 8)), "BMP"))
    data[18:26] = (11_000).to_bytes(4, "little") * 2
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty file"),
        (b"hello, I am text", "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "not a picture"),
        (encoded(noise(64, 64), "JPEG")[:-400], "damaged or cut off"),
        (encoded(noise(64, 64))[:-4000], "damaged or cut off"),
        (encoded(noise(64, 64), "GIF")[:1500], "damaged or cut off"),
        (bomb(), "million pixels"),
        (big(), "11000 x 11000"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
    ],
)
def test_unreadable_files_give_one_line(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(data)
    for source in (path, str(path), data):
        with pytest.raises(ImageError, match=words) as caught:
            read_image(source)
        assert "\n" not in str(caught.value) and ";" in str(caught.value)
    with pytest.raises(ImageError, match=r"shard\.tar:7: "):
        read_image(data, "shard.tar:7")


def test_bad_paths(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="a folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="<int>"):
        read_image(3)  # type: ignore[arg-type]


def test_center_crop_is_resize_then_crop() -> None:
    image = noise(100, 140)
    expected = image.resize((70, 50), Image.Resampling.BICUBIC).crop((10, 0, 60, 50))
    difference = np.asarray(center_crop(image, (50, 50)), int) - np.asarray(expected, int)
    assert np.abs(difference).max() <= 1
    assert np.array_equal(np.asarray(center_crop(image, (100, 140))), np.asarray(image))


@given(
    st.tuples(st.integers(1, 40_000), st.integers(1, 40_000)),
    st.tuples(st.integers(1, 1024), st.integers(1, 1024)),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_cover_box_fits_and_keeps_the_aspect(size: tuple[int, int], shape: tuple[int, int], x: float, y: float) -> None:
    left, top, right, bottom = cover_box(size, shape, x, y)
    assert -1e-6 <= left < right <= size[0] * (1 + 1e-9) and -1e-6 <= top < bottom <= size[1] * (1 + 1e-9)
    assert (right - left) / (bottom - top) == pytest.approx(shape[1] / shape[0], rel=1e-6)
    assert (right - left) == pytest.approx(size[0]) or (bottom - top) == pytest.approx(size[1])


def test_tensors_round_trip() -> None:
    image = noise(6, 4)
    pixels = to_uint8_tensor(image)
    assert pixels.shape == (6, 4, 3) and pixels.dtype == torch.uint8
    floats = to_float(pixels[None])
    assert floats.shape == (1, 3, 6, 4) and floats.dtype == torch.float32
    assert np.array_equal(np.asarray(to_pil(floats)[0]), np.asarray(image))
    every = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    assert np.array_equal(np.asarray(to_pil(to_float(every))[0]), every[0].numpy())


def test_to_pil_rounds_half_to_even_and_clamps() -> None:
    for value, level in ((0.0, 128), (-40.0, 0), (400.0, 255), (float("inf"), 255), (1 / 127.5, 128), (3 / 127.5, 130)):
        assert (
            to_pil(torch.full((1, 3, 1, 1), value))[0].getpixel((0, 0)) == (level,) * 3
        )  # 127.5, 128.5, 130.5 are ties


def test_to_pil_refuses_nan_and_wrong_shapes() -> None:
    images = torch.zeros(3, 3, 2, 2)
    images[1, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"pictures \[1\] of 3: they hold NaN"):
        to_pil(images)
    with pytest.raises(ValueError, match="float tensor"):
        to_pil(torch.zeros(3, 2, 2))
    with pytest.raises(ValueError, match="float tensor"):
        to_pil(torch.zeros(1, 3, 2, 2, dtype=torch.uint8))
