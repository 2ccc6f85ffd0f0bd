"""Words: are they read as before?

    word_accuracy      share of words read without a mistake         (T-ACC of TokBench)
    edit_similarity    1 - edit distance / length of the longer one  (T-NED)

Letters and digits count, their case does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from openflextok.evaluate.details.boxes import Box
from openflextok.evaluate.details.checks import Check, Item
from openflextok.evaluate.details.edits import edit_similarity, plain
from openflextok.evaluate.details.reader import TextReader
from openflextok.evaluate.details.sheets import RenderedWords
from openflextok.evaluate.parts import Parts
from openflextok.evaluate.reference import Reference, ReferenceBatch
from openflextok.evaluate.results import Setting

CONFIDENT, LEAST_LETTERS = 0.8, 2
MARGIN = 0.1  # of the height: what a rendered line has around it when it is read


@dataclass(frozen=True)
class Word(Item):
    """A word, where it stands and what it says."""

    text: str
    box: Box


Find = Callable[[ReferenceBatch], list[Word]]


class WordCheck(Check[Word]):
    """Words that `find` knows of, read again."""

    noun = "words"
    figures = ("word_accuracy", "edit_similarity")

    def __init__(self, reader: TextReader, find: Find, origin: str, sought: str) -> None:
        """origin: "drawn" or "found", for the card."""
        self.reader, self.finder, self.sought = reader, find, sought
        self.networks = reader.networks if origin == "found" else reader.networks[:1]
        self.settings = (Setting("words", origin),)

    def find(self, stretch: ReferenceBatch) -> list[Word]:
        return self.finder(stretch)

    def score(self, items: Sequence[Word], pictures: Sequence[Image.Image]) -> Tensor:
        readings = [plain(self.reader.read(pictures[word.row], word.box).text) for word in items]
        similar = [edit_similarity(text, plain(word.text)) for text, word in zip(readings, items, strict=True)]
        return torch.tensor([[float(value == 1), value] for value in similar], dtype=torch.float64)

    def alone(self, items: Sequence[Word], pictures: Sequence[Image.Image]) -> Mapping[str, Tensor]:
        return {"original": self.score(items, pictures)}

    def references(self, parts: Parts) -> Mapping[str, Tensor]:
        values_IF = parts.real_features("original")
        return {f"original-{name}": values_I for name, values_I in zip(self.figures, values_IF.T, strict=True)}


def rendered_check(reader: TextReader, source: RenderedWords, reference: Reference) -> WordCheck:
    """Words that were drawn: what they say is known, so that the originals have mistakes, too."""

    def find(stretch: ReferenceBatch) -> list[Word]:
        lines = [source.line(reference.indices[place]) for place in stretch.places]
        return [
            Word(row, line.box.height / source.height, line.word, line.box.grown(MARGIN * line.box.height))
            for row, line in enumerate(lines)
        ]

    return WordCheck(reader, find, "drawn", "drawn in Pillow's own font, one in each picture")


def photographed_check(reader: TextReader) -> WordCheck:
    """Words that the reader finds in the originals and is sure of: what it reads there is what they say."""

    def find(stretch: ReferenceBatch) -> list[Word]:
        found = []
        for row, pixels_HWC in enumerate(stretch.pixels_BHWC):
            picture = Image.fromarray(pixels_HWC.numpy())
            for box in reader.find(picture):
                reading = reader.read(picture, box)
                if reading.confidence >= CONFIDENT and len(plain(reading.text)) >= LEAST_LETTERS:
                    found.append(Word(row, box.height / picture.height, reading.text, box))
        return found

    sure = f"found by the reader, {LEAST_LETTERS} letters or more, each with a confidence of {CONFIDENT} or more"
    return WordCheck(reader, find, "found", sure)
