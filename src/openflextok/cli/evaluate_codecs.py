"""`openflextok evaluate codecs`: JPEG, WebP, AVIF and JPEG XL on the pictures that tokenizers are measured on."""

from __future__ import annotations

from pathlib import Path


def codecs(
    data: str,
    /,
    *,
    image_size: int = 128,
    codecs: str = "jpeg,webp,avif,jxl",
    qualities: str = "0,1,5,10,20,30,50,70,90",
    shrinks: str = "1,2,4,8",
    metrics: str = "psnr,ssim,lpips-alex",
    limit: int = 0,
    out: Path = Path("results"),
) -> None:
    """Code every picture of a data set at every quality and size: bytes and how good it is, to set beside tokenizers.

    Killed and started again, it goes on. Writes codec-NAME.json and its pictures for each codec, under the protocol of `evaluate reconstruct` on the same data
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
        Folder of the results; the parts of each (.parts) lie beside it.
    """
    import sys

    import torch

    from openflextok.cli.evaluate import carry_out, names, numbers, survey
    from openflextok.evaluate.codec_curve import CodecCurve, points_of
    from openflextok.evaluate.codecs import find_codec
    from openflextok.evaluate.measuring import Instruments
    from openflextok.evaluate.metric_table import choose
    from openflextok.evaluate.reference import Reference

    chosen, points = choose(names(metrics)), (numbers(qualities, "qualities"), numbers(shrinks, "shrinks"))
    points_of(*points, (image_size, image_size))  # mistakes are named before the work
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
    tools = Instruments.load(chosen, (), reference.image_size, surveyed.images, torch.device("cpu"))
    if not tools.pairs:
        raise ValueError("; ".join(tools.notes))
    for name, codec in found.items():
        file = out / f"codec-{name}.json"
        result = carry_out(CodecCurve(codec, reference, surveyed, tools, *points, absent), file)
        if result is not None:
            smallest = min(figure.bytes for figure in result.figures if figure.bytes is not None)
            print(f"{codec.name}: {len(result.of('quality'))} points from {smallest:.1f} bytes on")
