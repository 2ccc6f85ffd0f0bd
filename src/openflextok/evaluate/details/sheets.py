"""Rendered words: one in each picture, at several heights, on plain colours and on photos; the same for one seed.

    (word, share of the height, ground) -> Pillow's own font -> a picture at the tokenizer's size, and the box of its line

The same words stand at every height, so that heights differ in nothing else. The line is as high as from the top of
"H" to the bottom of "g", whichever letters a word has.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageStat

import openflextok
from openflextok.data.base import ImageSource, Words
from openflextok.evaluate.details.boxes import Box
from openflextok.pixels import cover_box, read_image

PHOTOS = Path(openflextok.__file__).parent / "photos"
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
GROUNDS = ("plain", "photo")
VOCABULARY = (
    "act age air ant arm art ask bag bed bee big bit box boy bus buy car cat cup cut day dog dry ear eat egg end eye "
    "far fit fly fox fun gas get hat hen hot ice ink jar job key kid leg lip lot map net new nut oak oil old one owl "
    "pan pen pet pie pig pot red rib row run sad sea set sit six sky sun tea ten tie toe top toy two use van wet win yes"
)
MARGIN = 0.02  # of the sides: free of text
MEASURED = 100  # font size at which a line is measured


@dataclass(frozen=True)
class Line:
    """A word in a picture."""

    word: str
    box: Box


class RenderedWords(ImageSource):
    """`words` words at every height on every ground: picture i of words x heights x grounds is always the same."""

    def __init__(self, image_size: tuple[int, int], words: int, seed: int, photos: Sequence[Path] = ()) -> None:
        """image_size: (height, width); photos: of the grounds, the bundled ones if none are given.

        Raises ValueError where fewer words than wanted fit at the greatest height.
        """
        self.height, self.width = image_size
        self.seed = seed
        fitting = [
            word for word in VOCABULARY.split() if self._box(word, max(SHARES)).width <= self.width * (1 - 2 * MARGIN)
        ]
        if not 1 <= words <= len(fitting):
            raise ValueError(f"{words} words are impossible at {self.width} px: give 1 to {len(fitting)}")
        self.chosen = random.Random(seed).sample(fitting, words)
        self.photos = [read_image(path) for path in photos or sorted(PHOTOS.glob("*.jpg"))]

    def __len__(self) -> int:
        return len(self.chosen) * len(SHARES) * len(GROUNDS)

    def name(self, index: int) -> str:
        word, share, ground = self._parts(index)
        return f"{word} at {share:g} on {ground}"

    def words(self, index: int) -> Words:
        return Words(label=self._parts(index)[0])

    def line(self, index: int) -> Line:
        """The word of picture `index`, and where it stands."""
        word, share, _ = self._parts(index)
        box, place = self._box(word, share), random.Random(f"{self.seed} {index} place")
        left = place.uniform(MARGIN * self.width, self.width * (1 - MARGIN) - box.width)
        top = place.uniform(MARGIN * self.height, self.height * (1 - MARGIN) - box.height)
        return Line(word, Box(left, top, left + box.width, top + box.height))

    def picture(self, index: int) -> Image.Image:
        word, share, ground = self._parts(index)
        made, line = random.Random(f"{self.seed} {index} ground"), self.line(index)
        colour = tuple(made.randrange(256) for _ in range(3))
        picture = Image.new("RGB", (self.width, self.height), colour)
        if ground == "photo":
            photo = made.choice(self.photos)
            edges = cover_box(photo.size, (self.height, self.width), made.random(), made.random())
            picture = photo.resize(picture.size, Image.Resampling.BICUBIC, box=edges)
        box = line.box
        edges = (round(box.left), round(box.top), round(box.right), round(box.bottom))
        dark = sum(ImageStat.Stat(picture.crop(edges).convert("L")).mean) < 128
        font, dot = self._font(share), self._box(word, share)
        origin = (line.box.left - dot.left, line.box.top - dot.top)
        ImageDraw.Draw(picture).text(origin, word, fill="white" if dark else "black", font=font)
        return picture

    def _parts(self, index: int) -> tuple[str, float, str]:
        number, place = divmod(index, len(SHARES) * len(GROUNDS))
        share, ground = divmod(place, len(GROUNDS))
        return self.chosen[number], SHARES[share], GROUNDS[ground]

    def _font(self, share: float) -> ImageFont.FreeTypeFont:
        top, bottom = _font_of(MEASURED).getbbox("Hg")[1::2]
        return _font_of(share * self.height * MEASURED / (bottom - top))

    def _box(self, word: str, share: float) -> Box:
        """The word's line as drawn at (0, 0): its own width, `share` of the picture high."""
        font = self._font(share)
        left, _, right, _ = font.getbbox(word)
        top = font.getbbox("Hg")[1]
        return Box(left, top, right, top + share * self.height)


def _font_of(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise ValueError("this Pillow was built without FreeType, which draws the words: install a wheel of Pillow")
    return font
