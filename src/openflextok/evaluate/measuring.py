"""What both jobs share: the networks of the chosen metrics, what they make of images, and the choice of pictures.

Shapes: B images, C channels, H height, W width, L lengths, S decode seeds, N tokens.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from openflextok.evaluate.features import Extractor, load_extractor
from openflextok.evaluate.metric_table import PAIRS, SETS, Chosen, PairMeasure
from openflextok.evaluate.parts import Part, Parts
from openflextok.evaluate.pictures import picture_grid
from openflextok.evaluate.reference import Reference, ReferenceBatch
from openflextok.evaluate.results import Network
from openflextok.pixels import to_float, to_uint8
from openflextok.tokenizer import Tokenizer
from openflextok.types import Tokens

SHOWN = 4  # pictures
STREAMS = 2**20  # decode seed s of image i is s * STREAMS + i


@dataclass(frozen=True)
class Instruments:
    """The chosen metrics, ready to use, and those that these images are too small or too few for."""

    chosen: Chosen
    pairs: Mapping[str, PairMeasure]
    sets: tuple[str, ...]
    extractors: tuple[Extractor, ...]
    notes: tuple[str, ...]

    @classmethod
    def load(
        cls, chosen: Chosen, networks: Sequence[str], size: tuple[int, int], images: int, device: torch.device
    ) -> Instruments:
        """Load what is needed; ValueError or FetchError says where weights can be had. Notes name what is left out."""
        notes, pairs, sets = [], {}, []
        for name in chosen.pairs:
            least = PAIRS[name].least_side
            if min(size) < least:
                notes.append(f"{name} is left out: it needs sides of {least} pixels or more, these are {min(size)}")
            else:
                pairs[name] = PAIRS[name].load(device)
        for name in chosen.sets:
            least = SETS[name].least_images
            if images < least:
                notes.append(f"{name} is left out: it needs {least} images or more, here are {images}")
            else:
                sets.append(name)
        extractors = tuple(load_extractor(name, device) for name in networks) if sets else ()
        named = [extractor.network.name for extractor in extractors]
        if len(set(named)) < len(named):
            raise ValueError(f"the networks {', '.join(named)} are not told apart by their names: rename their folders")
        for name in sets:
            if not any(SETS[name].reads(extractor.network) for extractor in extractors):
                notes.append(f"{name} is left out: it reads features of {SETS[name].network or 'a network'} alone")
        for extractor in extractors:
            notes += few_images(extractor, images) if "frechet" in sets else []
        return cls(chosen, pairs, tuple(sets), extractors, tuple(notes))

    @property
    def networks(self) -> tuple[Network, ...]:
        """All feature networks behind the figures."""
        paired = [measure.network for measure in self.pairs.values()]
        return (*(network for network in paired if network), *(extractor.network for extractor in self.extractors))

    def compare(self, part: Part, prefix: str, original_BCHW: Tensor, rebuilt_LSBCHW: Tensor) -> None:
        """Add to a part the figures of pairs, for each length and seed."""
        for name, measure in self.pairs.items():
            rows = [[measure.compute(original_BCHW, x_BCHW).cpu() for x_BCHW in seeds] for seeds in rebuilt_LSBCHW]
            values_LSBF = torch.stack([torch.stack(row) for row in rows]).double()
            for figure, values_LSB in zip(PAIRS[name].figures, values_LSBF.unbind(-1), strict=True):
                part.values[prefix + figure] = values_LSB

    def look(self, part: Part, prefix: str, images_LSBCHW: Tensor) -> None:
        """Add to a part the features of made images."""
        for extractor in self.extractors:
            features_XD = extractor(images_LSBCHW.flatten(0, 2))
            shape = images_LSBCHW.shape[:3]
            part.features[f"{prefix}made/{extractor.network.name}"] = features_XD.unflatten(0, shape)

    def look_at_real(self, part: Part, images_BCHW: Tensor) -> None:
        """Add to a part the features of real images."""
        for extractor in self.extractors:
            part.features[f"real/{extractor.network.name}"] = extractor(images_BCHW)


def few_images(extractor: Extractor, images: int) -> list[str]:
    """A note where a covariance of so many images has no full rank."""
    if images > extractor.width:
        return []
    name, width = extractor.network.name, extractor.width
    return [
        f"frechet of {name}: {images} images for {width} features: its covariances have no full rank and the distance is "
        "biased, upwards for independent sets; compare it only with figures of as many images"
    ]


def rounded(images_BCHW: Tensor) -> Tensor:
    """Images as they would be stored: 8 bits, then floats in [-1,1] again, on the same device."""
    return to_float(to_uint8(images_BCHW)).to(images_BCHW.device)


def decode_all(
    tokenizer: Tokenizer, tokens: Tokens | Tensor, lengths: Sequence[int], seeds: Sequence[int], places: Sequence[int],
    options: Mapping[str, Any],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Decode at each length and seed -> images (L,S,B,C,H,W) of 8 bits, and seconds per image (L,S,B).

    Raises ValueError naming the image, length and seed where a decoder gives NaN.
    """
    images, seconds = [], []
    for length in lengths:
        for seed in seeds:
            streams = [seed * STREAMS + place for place in places]
            kept = tokens[:, :length] if isinstance(tokens, Tensor) else tokens.truncate(length)
            begin = time.perf_counter()
            made_BCHW = tokenizer.decode(kept, seed=streams, **options)
            bad = made_BCHW.isnan().flatten(1).any(1).tolist()  # waits for the device, too
            seconds.append(torch.full((len(places),), (time.perf_counter() - begin) / len(places), dtype=torch.float64))
            if any(bad):
                where = f"image {places[bad.index(True)]} at length {length}, seed {seed}"
                raise ValueError(f"the decoder gave NaN for {where}: check its weights and options")
            images.append(rounded(made_BCHW))
    shape = (len(lengths), len(seeds))
    return torch.stack(images).unflatten(0, shape), torch.stack(seconds).unflatten(0, shape)


def through_space(tokenizer: Tokenizer, images_BCHW: Tensor) -> Tensor:
    """Images through the latent space alone, without tokens: the ceiling, of 8 bits, as one length and seed (1,1,B,C,H,W)."""
    latents_BChw = tokenizer.space.encode(images_BCHW)
    return rounded(tokenizer.space.decode(latents_BChw).clamp(-1, 1))[None, None]


def check_size(reference: Reference, tokenizer: Tokenizer) -> None:
    """Raise ValueError for images of another size than the tokenizer's."""
    if reference.image_size != tokenizer.image_size:
        raise ValueError(f"{reference.spec} has {reference.image_size} pixels, the tokenizer {tokenizer.image_size}")


def sizes(tokenizer: Tokenizer, lengths: Sequence[int]) -> tuple[float | None, ...]:
    """Bytes of an image at each length; none where tokens are continuous."""
    found = [tokenizer.bytes_per_image(length) for length in lengths]
    return tuple(None if size is None else float(size) for size in found)


# -- pictures to look at, and notes ----------------------------------------------------------------------------------


def shown_places(count: int) -> frozenset[int]:
    """Places of the pictures to look at: evenly spaced."""
    few = min(count, SHOWN)
    return frozenset(place * count // few for place in range(few))


def keep_pictures(
    part: Part, stretch: ReferenceBatch, shown: frozenset[int], lengths: Sequence[int], made_LSBCHW: Tensor
) -> None:
    """Add to a part the pictures of the places shown: the originals, and those of the first seed at each length."""
    rows = [row for row, place in enumerate(stretch.places) if place in shown]
    if rows:
        part.pictures["original"] = stretch.pixels_BHWC[rows]
        for length, made_SBCHW in zip(lengths, made_LSBCHW, strict=True):
            part.pictures[str(length)] = to_uint8(made_SBCHW[0, rows])


def picture(
    parts: Parts, label_of_real: str, lengths: Sequence[int], chosen: slice = slice(None)
) -> Image.Image | None:
    """A row per chosen picture: the real one, under its label, and each length; none where none could be read."""
    if not parts.has("pictures", "original"):
        return None
    columns = [(label_of_real, parts.pictures("original")[chosen])]
    for length in lengths:
        columns.append((f"{length} token{'s' if length > 1 else ''}", parts.pictures(str(length))[chosen]))
    return picture_grid([(label, [Image.fromarray(p) for p in pictures.numpy()]) for label, pictures in columns])


def run_notes(batch: int, seeds: Sequence[int], device: torch.device) -> tuple[str, ...]:
    """How the run was made: the machine behind the seconds, and the seeds behind the means."""
    made = f"batches of {batch}, one {device.type} machine, {torch.get_num_threads()} threads"
    over = f"values are means over {len(seeds)} decode seeds; spread is their standard deviation"
    return (f"decode_seconds: median per image in {made}", *([over] if len(seeds) > 1 else []))
