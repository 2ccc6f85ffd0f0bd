"""Faces: are they the same persons'?

face_similarity     cosine of the embeddings of a face before and after, cut at the same place  (F-Sim of TokBench)
faces_recognised    share of faces above the cosine from which SFace calls two faces one person's
other_faces         cosine to the faces of other pictures, mean: what a face gets that has nothing of its own left
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from openflextok.evaluate.details.checks import Check, Item
from openflextok.evaluate.details.face_networks import SURE, FaceNetworks, Points
from openflextok.evaluate.parts import Parts
from openflextok.evaluate.reference import ReferenceBatch
from openflextok.evaluate.results import Setting

SAME_PERSON = 0.363  # the cosine that OpenCV's documentation gives for this network
LEAST_PIXELS = 12  # of a face's height: smaller ones move far in the embedding when they move by a pixel


@dataclass(frozen=True)
class PlacedFace(Item):
    """A face by its eyes, nose and mouth, and what the embedding of the original is."""

    points: Points
    embedding_D: np.ndarray


class FaceCheck(Check[PlacedFace]):
    """Faces that the detector finds in the originals."""

    noun = "faces"
    figures = ("face_similarity", "faces_recognised")
    sought = f"{LEAST_PIXELS} px high or more, found with a score of {SURE} or more"

    def __init__(self, networks: FaceNetworks) -> None:
        self.model, self.networks = networks, networks.networks
        self.settings = (Setting("faces", "found"),)

    def find(self, stretch: ReferenceBatch) -> list[PlacedFace]:
        found = []
        for row, pixels_HWC in enumerate(stretch.pixels_BHWC):
            picture = Image.fromarray(pixels_HWC.numpy())
            for face in self.model.find(picture):
                if face.box.height >= LEAST_PIXELS:
                    embedding_D = self.model.embed(picture, face.points)
                    found.append(PlacedFace(row, face.box.height / picture.height, face.points, embedding_D))
        return found

    def score(self, items: Sequence[PlacedFace], pictures: Sequence[Image.Image]) -> Tensor:
        made = [self.model.embed(pictures[face.row], face.points) for face in items]
        cosines = [float(one @ face.embedding_D) for one, face in zip(made, items, strict=True)]
        return torch.tensor([[cosine, float(cosine >= SAME_PERSON)] for cosine in cosines], dtype=torch.float64)

    def alone(self, items: Sequence[PlacedFace], pictures: Sequence[Image.Image]) -> Mapping[str, Tensor]:
        return {"faces": torch.from_numpy(np.stack([face.embedding_D for face in items]))}

    def references(self, parts: Parts) -> Mapping[str, Tensor]:
        faces_ID, place_I = parts.real_features("faces").double(), parts.real_features("items")[:, 0]
        others_II = place_I[:, None] != place_I[None]
        cosines_II = torch.where(others_II, faces_ID @ faces_ID.T, 0.0)
        return {"other_faces": cosines_II.sum(1) / others_II.sum(1)}
