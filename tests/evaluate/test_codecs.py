"""Codecs as baselines: what Pillow wrote is what is counted, and what it reads back is what is measured."""

from __future__ import annotations

import functools
import io
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from openflextok.evaluate.codec_curve import CodecCurve, codec_pictures
from openflextok.evaluate.codecs import CODECS, Codec, decode, encode, find_codec, shrunk
from openflextok.evaluate.job import run
from openflextok.evaluate.measuring import Instruments
from openflextok.evaluate.metric_table import choose
from openflextok.evaluate.metrics import psnr
from openflextok.evaluate.reference import Reference
from openflextok.evaluate.results import Result, differences
from openflextok.pixels import center_crop, to_float, to_uint8_tensor

PHOTOS = Path(__file__).parents[2] / "src/openflextok/photos"
SIDE, COUNT = 64, 2
BUILT_IN = ["jpeg", "webp", "avif"]
LOSSLESS = Codec("lossless WebP", "WEBP", {"lossless": True}, lambda: "Pillow")


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(str(PHOTOS), (SIDE, SIDE), limit=COUNT)


@pytest.fixture(scope="module")
def crops(reference) -> list[Image.Image]:
    return [center_crop(reference.source.read(index).image, (SIDE, SIDE)) for index in reference.indices]


def make_job(codec: Codec, reference: Reference, qualities, shrinks) -> CodecCurve:
    survey = reference.survey()
    tools = Instruments.load(choose(("psnr", "ssim")), (), (SIDE, SIDE), survey.images, torch.device("cpu"))
    return CodecCurve(codec, reference, survey, tools, qualities, shrinks)


def curve(codec: Codec, reference: Reference, qualities, shrinks) -> Result:
    job = make_job(codec, reference, qualities, shrinks)
    with tempfile.TemporaryDirectory() as folder:
        result = run(job, Path(folder, "parts"), Path(folder, "codec.json"))
    assert result is not None
    return result


@pytest.mark.parametrize("name", BUILT_IN)
def test_bytes_and_psnr_are_those_of_the_files_that_pillow_writes(name, reference, crops):
    codec = CODECS[name]
    result = curve(codec, reference, (30,), (1,))
    sizes, quality = [], []
    for crop in crops:
        file = io.BytesIO()
        crop.save(file, codec.format, quality=30, **codec.options)
        sizes.append(file.tell())
        back, start = (np.asarray(image, dtype=np.float64) for image in (Image.open(file).convert("RGB"), crop))
        quality.append(10 * np.log10(255**2 / np.mean((back - start) ** 2)))
    (figure,) = result.of("psnr")
    assert figure.bytes == np.mean(sizes) and figure.images == COUNT
    assert figure.value == pytest.approx(np.mean(quality), abs=1e-3)
    assert figure.low is not None and figure.high is not None and figure.low <= figure.value <= figure.high
    (empty,) = result.of("empty_bytes")
    assert 20 < empty.value < min(sizes)
    assert [figure.value for figure in result.of("coded_height")] == [SIDE]


@pytest.mark.parametrize("name", BUILT_IN)
def test_more_quality_costs_more_and_is_better_and_smaller_pictures_cost_less(name, reference):
    result = curve(CODECS[name], reference, (5, 40, 90), (1, 4))
    points = [(figure.bytes, figure.value) for figure in result.of("psnr")]
    assert len(points) == 6
    for side in (points[:3], points[3:]):
        assert side == sorted(side) and [value for _, value in side] == sorted(value for _, value in side)
    assert all(small[0] < full[0] for full, small in zip(points[:3], points[3:], strict=True))


def test_lossless_files_have_the_capped_psnr(reference, crops):
    assert psnr(*(to_float(to_uint8_tensor(crops[0])[None]) for _ in range(2))).isinf().all()
    result = curve(LOSSLESS, reference, (100,), (1,))
    assert [figure.value for figure in result.of("psnr")] == [100.0]
    assert result.of("ssim")[0].value == pytest.approx(1.0)


def test_qualities_that_write_the_same_files_stand_once(reference):
    result = curve(LOSSLESS, reference, (0, 0), (1, 2))
    assert [figure.value for figure in result.of("coded_height")] == [64, 32]
    jpeg = curve(CODECS["jpeg"], reference, (0, 1, 50), (1,))
    assert [figure.value for figure in jpeg.of("quality")] == [0, 50]  # libjpeg takes 0 for 1


def test_shrinking_is_bicubic_both_ways(crops):
    small = crops[0].resize((16, 16), Image.Resampling.BICUBIC)
    expected = small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    file = encode(LOSSLESS, crops[0], 100, shrink=4)
    assert Image.open(io.BytesIO(file)).size == (16, 16)
    assert decode(LOSSLESS, file, crops[0].size).tobytes() == expected.tobytes()


def test_codecs_and_tokenizers_on_one_reference_have_one_protocol(reference):
    result = curve(LOSSLESS, reference, (100,), (1,))
    again = Reference(str(PHOTOS), (SIDE, SIDE), limit=COUNT)
    assert differences(result.protocol, again.protocol("reconstruct", again.survey())) == ()
    settings = {setting.name: setting.value for setting in result.subject.settings}
    assert settings["lossless"] == "True" and settings["coded by"] == "Pillow"


def test_a_killed_run_goes_on_and_gives_the_same(monkeypatch, tmp_path):
    monkeypatch.setattr("openflextok.evaluate.codec_curve.BATCH", 1)
    pair = Reference(str(PHOTOS), (SIDE, SIDE), limit=COUNT)
    make = functools.partial(make_job, CODECS["jpeg"], pair, (0, 1, 50), (1, 2))
    whole = run(make(), tmp_path / "a.parts", tmp_path / "same.json")

    def kill(images: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make(), tmp_path / "b.parts", tmp_path / "same.json", kill)
    kept = (tmp_path / "b.parts/part-00000.safetensors").stat().st_mtime_ns
    ticks: list[int] = []
    again = run(make(), tmp_path / "b.parts", tmp_path / "same.json", ticks.append)
    assert again == whole and sum(ticks) == COUNT - 1
    assert (tmp_path / "b.parts/part-00000.safetensors").stat().st_mtime_ns == kept
    assert whole is not None and [figure.value for figure in whole.of("quality")] == [0, 50, 0, 50]
    with pytest.raises(ValueError, match="different in .*settings"):
        run(make_job(CODECS["jpeg"], pair, (0, 50), (1, 2)), tmp_path / "b.parts", tmp_path / "same.json")


def test_pictures_show_the_originals_first(reference, crops):
    result = curve(LOSSLESS, reference, (100,), (1, 2))
    grid = np.asarray(codec_pictures(LOSSLESS, result, reference))
    assert any(
        np.array_equal(grid[top : top + SIDE, 4 : 4 + SIDE], np.asarray(crops[0])) for top in range(len(grid) - SIDE)
    )


def test_pictures_that_cannot_be_read_are_not_shown(crops, tmp_path):
    for number in range(8):
        crops[0].save(tmp_path / f"{number}.png")
    for number in (0, 2, 4, 6):  # the four that would be shown
        (tmp_path / f"{number}.png").write_bytes(b"cut off")
    result = curve(LOSSLESS, Reference(str(tmp_path), (SIDE, SIDE)), (100,), (1,))
    assert result.protocol.images == 4 and result.pictures == ""


def test_jpeg_xl_without_its_plugin_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_jxl", None)
    with pytest.raises(ImportError, match=r"pip install 'openflextok\[jxl\]'"):
        find_codec("jxl").version()


def test_jpeg_xl_is_written_and_read_where_its_plugin_is_there(reference):
    pytest.importorskip("pillow_jxl")
    points = curve(CODECS["jxl"], reference, (10, 80, 100), (1,)).of("psnr")
    assert points[0].value < points[1].value < points[2].value == 100  # the best is without a loss
    assert points[0].bytes < points[1].bytes < points[2].bytes


def test_impossible_settings_are_refused(reference):
    with pytest.raises(ValueError, match="did you mean 'jpeg'"):
        find_codec("jpg")
    with pytest.raises(ValueError, match="cannot shrink 64 x 64 pixels by 65: give 1 to 64"):
        shrunk((64, 64), 65)
    for qualities, shrinks in (((101,), (1,)), ((), (1,)), ((50,), ())):
        with pytest.raises(ValueError, match="0 <= quality <= 100"):
            curve(LOSSLESS, reference, qualities, shrinks)
