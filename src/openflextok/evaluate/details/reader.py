"""Words in pictures by PP-OCRv4: where they are, and what they say.

    picture -> sides of 736 px or more -> detector -> probability of text (H, W) -> connected parts -> boxes
    (picture, box) -> cut, 48 px high -> recogniser -> (T, V) -> CTC -> text, confidence

Only upright boxes are made: slanted text is cut with its surroundings, and read with less confidence or not at all.

Shapes: H height, W width, T steps along the text, V letters and the blank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from openflextok.convert.detail_networks import load_detail_network
from openflextok.evaluate.details.boxes import Box, cut
from openflextok.evaluate.results import Network
from openflextok.nets.onnx import OnnxNetwork

DETECTED_SIDE, MULTIPLE = 736, 32  # of the shorter side
TEXT, SURE = 0.3, 0.5  # probability of a pixel of text, and their mean in a box
COARSE = 4  # pixels of a cell in which connected parts are found
UNCLIP = 1.6  # the detector learned shrunken boxes: they grow by area x this / perimeter
LINE_HEIGHT, LEAST_WIDTH = 48, 320
BLANK = 0


@dataclass(frozen=True)
class Reading:
    """What a box says, and how sure the reader is of its least likely letter."""

    text: str
    confidence: float


class TextReader:
    """The two networks."""

    def __init__(self, detector: OnnxNetwork, recogniser: OnnxNetwork) -> None:
        self.detector, self.recogniser = detector, recogniser
        self.letters = ["", *recogniser.metadata["character"].splitlines(), " "]
        self.networks = (Network("pp-ocrv4-rec", recogniser.sha256), Network("pp-ocrv4-det", detector.sha256))

    @classmethod
    def load(cls) -> TextReader:
        """Fetched on the first call; FetchError or ImportError says what is missing."""
        return cls(load_detail_network("pp-ocrv4-det"), load_detail_network("pp-ocrv4-rec"))

    def find(self, picture: Image.Image) -> list[Box]:
        """Boxes of text in pixels of the picture, from top to bottom."""
        width, height = detected_size(picture.size)
        resized = picture.resize((width, height), Image.Resampling.BILINEAR)
        (map_11HW,) = self.detector(as_input(resized)).values()
        boxes = text_boxes(torch.from_numpy(map_11HW[0, 0]))
        return [box.scaled(picture.width / width, picture.height / height).within(*picture.size) for box in boxes]

    def read(self, picture: Image.Image, box: Box) -> Reading:
        """What the box says."""
        inside = box.within(*picture.size)
        width = max(8, round(LINE_HEIGHT * inside.width / max(inside.height, 1)))
        line_13HW = as_input(cut(picture, inside, (width, LINE_HEIGHT)))
        padded = np.pad(line_13HW, ((0, 0), (0, 0), (0, 0), (0, max(0, LEAST_WIDTH - width))))
        (found_1TV,) = self.recogniser(padded).values()
        return ctc(found_1TV[0], self.letters)


def detected_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size (width, height) that the detector sees: at least DETECTED_SIDE, in whole multiples of MULTIPLE."""
    scale = max(1.0, DETECTED_SIDE / min(size))
    width, height = (max(1, round(side * scale / MULTIPLE)) * MULTIPLE for side in size)
    return width, height


def as_input(picture: Image.Image) -> np.ndarray:
    """(1,3,H,W) in [-1,1], blue first."""
    levels_HW3 = np.asarray(picture, dtype=np.float32)[:, :, ::-1] / 127.5 - 1
    return np.ascontiguousarray(levels_HW3.transpose(2, 0, 1)[None])


def ctc(probabilities_TV: np.ndarray, letters: Sequence[str]) -> Reading:
    """The likeliest letter of each step, repetitions once, without blanks; confidence 0 where nothing is read."""
    best_T = probabilities_TV.argmax(1)
    kept = [step for step, letter in enumerate(best_T) if letter != BLANK and (step == 0 or letter != best_T[step - 1])]
    sure = [float(probabilities_TV[step, best_T[step]]) for step in kept]
    return Reading("".join(letters[int(best_T[step])] for step in kept), min(sure, default=0.0))


def text_boxes(map_HW: torch.Tensor) -> list[Box]:
    """Boxes around connected parts of the text map, grown to whole words, from top to bottom."""
    map_11HW = map_HW[None, None]
    labels_hw = connected(F.max_pool2d(map_11HW, COARSE)[0, 0] > TEXT)
    text_11HW = (map_11HW > TEXT).float()
    sums_hw, counts_hw = (F.avg_pool2d(x_11HW, COARSE)[0, 0] for x_11HW in (map_11HW * text_11HW, text_11HW))
    boxes = []
    for label in set(labels_hw.unique().tolist()) - {0}:
        part_hw = labels_hw == label
        if sums_hw[part_hw].sum() < SURE * counts_hw[part_hw].sum():
            continue
        rows, columns = torch.nonzero(part_hw, as_tuple=True)
        edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        box = Box(*(COARSE * float(edge) for edge in edges))
        boxes.append(box.grown(box.width * box.height * UNCLIP / (2 * (box.width + box.height))))
    return sorted(boxes, key=lambda box: (box.top, box.left))


def connected(mask_HW: torch.Tensor) -> torch.Tensor:
    """A number for each connected part (with corners) of a mask; 0 outside."""
    labels_HW = (torch.arange(1, mask_HW.numel() + 1).view_as(mask_HW) * mask_HW).float()
    while True:
        spread_HW = F.max_pool2d(labels_HW[None, None], 3, 1, 1)[0, 0] * mask_HW
        if torch.equal(spread_HW, labels_HW):
            return labels_HW.long()
        labels_HW = spread_HW
