"""Faces in pictures: where they are, by YuNet, and whose they are, by SFace.

    picture -> 640 x 640 -> YuNet -> scores, boxes and five points at strides 8, 16, 32 -> the best of overlapping boxes
    (picture, five points) -> the similarity that puts them in place -> 112 x 112 -> SFace -> 128 numbers of length 1

Shapes: A anchors of a stride.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from openflextok.convert.detail_networks import load_detail_network
from openflextok.evaluate.details.boxes import Box
from openflextok.evaluate.results import Network
from openflextok.nets.onnx import OnnxNetwork

DETECTED_SIDE, STRIDES = 640, (8, 16, 32)
SURE, OVERLAP = 0.8, 0.3
FACE_SIDE = 112
PLACES = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""Where eyes, nose and corners of the mouth lie in a face of 112 px: what SFace was trained on."""

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Face:
    """One found face: its box, eyes, nose and corners of the mouth in pixels."""

    box: Box
    points: Points
    score: float


class FaceNetworks:
    """The two networks."""

    def __init__(self, detector: OnnxNetwork, embedder: OnnxNetwork) -> None:
        self.detector, self.embedder = detector, embedder
        self.networks = (Network("sface-int8", embedder.sha256), Network("yunet-int8", detector.sha256))

    @classmethod
    def load(cls) -> FaceNetworks:
        """Fetched on the first call; FetchError or ImportError says what is missing."""
        return cls(load_detail_network("yunet-int8"), load_detail_network("sface-int8"))

    def find(self, picture: Image.Image) -> list[Face]:
        """Faces of the picture, surest first."""
        scale = DETECTED_SIDE / max(picture.size)
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        square = Image.new("RGB", (DETECTED_SIDE, DETECTED_SIDE))
        square.paste(picture.resize(size, Image.Resampling.BILINEAR), (0, 0))
        levels_HW3 = np.asarray(square, dtype=np.float32)[:, :, ::-1]
        outputs = self.detector(np.ascontiguousarray(levels_HW3.transpose(2, 0, 1)[None]))
        found = [face for stride in STRIDES for face in faces_of(outputs, stride)]
        width, height = picture.size
        return [
            Face(
                face.box.scaled(width / size[0], height / size[1]).within(width, height),
                tuple((x * width / size[0], y * height / size[1]) for x, y in face.points),
                face.score,
            )
            for face in apart(found)
        ]

    def embed(self, picture: Image.Image, points: Points) -> np.ndarray:
        """(128,) of length 1: equal directions mean equal persons."""
        inverse = placing(PLACES, points)
        face = picture.transform(
            (FACE_SIDE, FACE_SIDE), Image.Transform.AFFINE, inverse, resample=Image.Resampling.BILINEAR
        )
        levels_HW3 = np.asarray(face, dtype=np.float32)
        (found_1D,) = self.embedder(np.ascontiguousarray(levels_HW3.transpose(2, 0, 1)[None])).values()
        return found_1D[0] / np.linalg.norm(found_1D[0])


def faces_of(outputs: dict[str, np.ndarray], stride: int) -> list[Face]:
    """What the detector says at one stride, in pixels of its input."""
    score_A = np.sqrt(outputs[f"cls_{stride}"][0, :, 0].clip(0, 1) * outputs[f"obj_{stride}"][0, :, 0].clip(0, 1))
    faces = []
    for place in np.flatnonzero(score_A >= SURE):
        row, column = divmod(int(place), DETECTED_SIDE // stride)
        x, y, log_width, log_height = (float(value) for value in outputs[f"bbox_{stride}"][0, place])
        x, y, half = (column + x) * stride, (row + y) * stride, stride / 2
        width, height = half * math.exp(log_width), half * math.exp(log_height)
        offsets = outputs[f"kps_{stride}"][0, place].reshape(5, 2)
        points = tuple((float((column + dx) * stride), float((row + dy) * stride)) for dx, dy in offsets)
        faces.append(Face(Box(x - width, y - height, x + width, y + height), points, float(score_A[place])))
    return faces


def apart(faces: Sequence[Face]) -> list[Face]:
    """Faces in the order of their scores, without those that overlap a surer one."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(overlap(face.box, other.box) < OVERLAP for other in kept):
            kept.append(face)
    return kept


def overlap(a: Box, b: Box) -> float:
    """Area of the intersection over that of the union."""
    width = max(0.0, min(a.right, b.right) - max(a.left, b.left))
    height = max(0.0, min(a.bottom, b.bottom) - max(a.top, b.top))
    both = width * height
    return both / (a.width * a.height + b.width * b.height - both)


def placing(source: Points, target: Points) -> tuple[float, float, float, float, float, float]:
    """(a, b, c, d, e, f) with (x, y) -> (ax + by + c, dx + ey + f): the nearest similarity from points to points.

    Least squares over rotation, scale and shift without mirroring; of points x + iy it is z -> sz + t.
    """
    z, w = (np.array([complex(x, y) for x, y in points]) for points in (source, target))
    s = np.vdot(z - z.mean(), w - w.mean()) / np.vdot(z - z.mean(), z - z.mean())
    t = w.mean() - s * z.mean()
    return s.real, -s.imag, t.real, s.imag, s.real, t.imag
