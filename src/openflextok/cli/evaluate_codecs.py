"""`openflextok evaluate codecs`: JPEG, WebP, AVIF and JPEG XL on the pictures that tokenizers are measured on."""

from __future__ import annotations

from pathlib import Path

QUALITIES = "0,1,5,10,20,30,50,70,90"


def codecs(
    data: str,
    /,
    *,
    image_size: int = 128,
    codecs: str = "jpeg,webp,avif,jxl",
    qualities: str = QUALITIES,
    shrinks: str = "1,2,4,8",
    metrics: str = "psnr,ssim,lpips-alex",
    limit: int = 0,
    out: Path = Path("results"),
) -> None:
    """Code every picture of a data set at every quality and size: bytes and how good it is, to set beside tokenizers.

    Writes codec-NAME.json and its pictures for each codec, under the protocol of `evaluate reconstruct` on the same data
    at the same size. A codec that is not installed is named, and noted in the other results.

    Parameters
    ----------
    data
        A folder (`FOLDER#SPLIT`), .tar shards, `hf:NAME:SPLIT` or `builtin:NAME:SPLIT`, as for `train` (docs/data.md).
    image_size
        Side of the square crops in pixels: the size of the tokenizer to compare with.
    codecs
        Of jpeg, webp, avif, jxl; jxl needs `pip install 'openflextok[jxl]'`.
    qualities
        Of the codecs, each from 0 to 100.
    shrinks
        Sides are divided by these before coding and enlarged after decoding, to reach fewer bytes.
    metrics
        Of psnr, ssim, ms-ssim, lpips-alex, lpips-vgg, colour.
    limit
        So many pictures only, evenly spaced; 0 means all.
    out
        Folder of the results.
    """
    import sys
    from dataclasses import replace

    import torch

    from openflextok.cli.evaluate import names, numbers, survey
    from openflextok.cli.progress import ImagesBar
    from openflextok.evaluate.codec_curve import check_points, codec_curve, codec_pictures
    from openflextok.evaluate.codecs import find_codec
    from openflextok.evaluate.measuring import Instruments
    from openflextok.evaluate.metric_table import choose
    from openflextok.evaluate.reference import Reference
    from openflextok.evaluate.results import write_result
    from openflextok.files import atomic_file

    chosen, points = choose(names(metrics)), (numbers(qualities, "qualities"), numbers(shrinks, "shrinks"))
    check_points(*points, (image_size, image_size))
    if chosen.sets or chosen.tokens or not chosen.pairs:
        raise ValueError(f"metrics {metrics!r} are not of pairs of images: give psnr, ssim, lpips-alex, ...")
    found, absent = {}, []
    for name in names(codecs):
        try:
            found[name] = find_codec(name)
            found[name].version()
        except ImportError as error:
            absent.append(f"{found.pop(name).name} was not measured: {error}")
    for line in absent:
        print(line, file=sys.stderr)
    if not found:
        raise ValueError(f"no codec of {codecs!r} can be measured here")
    reference = Reference(data, (image_size, image_size), limit)
    surveyed = survey(reference)
    protocol = reference.protocol("reconstruct", surveyed)
    tools = Instruments.load(chosen, (), reference.image_size, surveyed.images, torch.device("cpu"))
    for name, codec in found.items():
        file = out / f"codec-{name}.json"
        with ImagesBar(len(reference), visible=True) as bar:
            result = codec_curve(codec, reference, protocol, tools.pairs, *points, tick=bar.advance)
        picture = file.with_suffix(".webp")
        with atomic_file(picture) as temporary:
            codec_pictures(codec, result, reference).save(temporary, format="WEBP", quality=80, method=6)
        notes = (*result.notes, *tools.notes, *absent)
        write_result(file, replace(result, notes=notes, pictures=picture.name))
        smallest = min(figure.bytes for figure in result.figures if figure.bytes is not None)
        print(f"{codec.name}: {len(result.of('quality'))} points from {smallest:.1f} bytes on, in {file}")
