"""Do the readers of `evaluate text` and `evaluate faces` see what is lost? Originals made smaller, without any tokenizer.

python benchmarks/details.py [FACES]    writes results/details.json

FACES is a source of pictures of people. Words are the drawn ones of `evaluate text`, at 128 px. A picture is made smaller to
so many pixels and enlarged again (bicubic); "mirror" is the mirrored face, cut at the mirrored place.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from common import write
from PIL import Image, ImageOps

from openflextok.evaluate.details.boxes import in_order, octave
from openflextok.evaluate.details.checks import Check
from openflextok.evaluate.details.face_networks import FaceNetworks
from openflextok.evaluate.details.faces import SAME_PERSON, FaceCheck
from openflextok.evaluate.details.reader import TextReader
from openflextok.evaluate.details.sheets import RenderedWords
from openflextok.evaluate.details.words import rendered_check
from openflextok.evaluate.reference import Reference

SIDE, SMALLER, WORDS = 128, (96, 64, 32, 16), 16
MIRRORED = (1, 0, 2, 4, 3)  # left and right eye, nose, corners of the mouth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faces", nargs="?", default="builtin:paintings:all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "details.json")
    options = parser.parse_args()
    drawn = RenderedWords((SIDE, SIDE), WORDS, 0)
    words, photos = Reference("rendered words (seed 0)", (SIDE, SIDE), 0, drawn), Reference(options.faces, (SIDE, SIDE))
    networks = FaceNetworks.load()
    text, faces = rendered_check(TextReader.load(), drawn, words), FaceCheck(networks)
    rows: list[dict[str, object]] = []
    for side in (SIDE, *SMALLER):
        rows += measured(text, words, f"{side} px", lambda picture, side=side: smaller(picture, side))
        rows += measured(faces, photos, f"{side} px", lambda picture, side=side: smaller(picture, side))
    rows += mirrored(faces, networks, photos)
    write(options.out, "details", rows)


def smaller(picture: Image.Image, side: int) -> Image.Image:
    """A picture with the detail of one of `side` pixels."""
    return picture.resize((side, side), Image.Resampling.BICUBIC).resize(picture.size, Image.Resampling.BICUBIC)


def measured(check: Check, reference: Reference, name: str, change: Callable) -> list[dict[str, object]]:
    """A row for each figure and height of the changed originals."""
    shares, values = [], []
    for stretch in reference.batches(16):
        items = check.find(stretch)
        if items:
            pictures = [change(Image.fromarray(pixels.numpy())) for pixels in stretch.pixels_BHWC]
            values.append(check.score(items, pictures))
            shares += [item.share for item in items]
    return rows_of(check.figures, name, torch.cat(values), [octave(share) for share in shares])


def rows_of(
    figures: tuple[str, ...], name: str, values_IF: torch.Tensor, buckets: list[str]
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for bucket in ("", *in_order(buckets)):
        chosen_I = torch.tensor([bucket in ("", own) for own in buckets])
        for figure, value in zip(figures, values_IF[chosen_I].mean(0).tolist(), strict=True):
            count = int(chosen_I.sum())
            rows.append({"change": name, "figure": figure, "height": bucket or "all", "value": value, "n": count})
            print(*rows[-1].values())
    return rows


def mirrored(check: FaceCheck, networks: FaceNetworks, reference: Reference) -> list[dict[str, object]]:
    """Faces against themselves in the mirror, and all pairs of faces of two pictures."""
    values, buckets, embeddings, places = [], [], [], []
    for stretch in reference.batches(16):
        for face in check.find(stretch):
            picture = ImageOps.mirror(Image.fromarray(stretch.pixels_BHWC[face.row].numpy()))
            points = tuple((SIDE - face.points[place][0], face.points[place][1]) for place in MIRRORED)
            values.append(float(networks.embed(picture, points) @ face.embedding_D))
            buckets.append(octave(face.share))
            embeddings.append(torch.from_numpy(face.embedding_D).double())
            places.append(stretch.places[face.row])
    place_I, faces_ID = torch.tensor(places), torch.stack(embeddings)
    others = (faces_ID @ faces_ID.T)[place_I[:, None] != place_I[None]]
    rows = rows_of(check.figures, "mirror", recognised(torch.tensor(values).double()), buckets)
    pairs = recognised(others).mean(0).tolist()
    for figure, value in zip(check.figures, pairs, strict=True):
        rows.append({"change": "another face", "figure": figure, "height": "all", "value": value, "n": len(others)})
        print(*rows[-1].values())
    return rows


def recognised(cosine_I: torch.Tensor) -> torch.Tensor:
    return torch.stack([cosine_I, (cosine_I >= SAME_PERSON).double()], 1)


if __name__ == "__main__":
    main()
