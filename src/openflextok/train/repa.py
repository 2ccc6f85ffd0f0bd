"""Representation alignment: early decoder features should predict a frozen teacher's (REPA, arXiv 2410.06940).

Shape suffixes: B batch, P patches, D width, C channels, H x W pixels, h x w feature grid.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openflextok.config import ConfigError
from openflextok.train.settings import Dinov2TeacherConfig, MobileNetTeacherConfig, RepaConfig, StubTeacherConfig
from openflextok.types import Losses


class StubTeacher(nn.Module):
    """A fixed random projection of average-pooled pixels; the same on every machine."""

    def __init__(self, config: StubTeacherConfig) -> None:
        super().__init__()
        self.dim, self.grid = config.dim, config.grid
        weight = torch.randn(config.dim, 3, generator=torch.Generator().manual_seed(0))
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(images_BCHW, self.grid)
        return torch.einsum("dc,bchw->bdhw", self.weight, pooled)


class MobileNetTeacher(nn.Module):
    """Features of ImageNet MobileNetV2 at a stride of 8, 16 or 32 pixels."""

    def __init__(self, config: MobileNetTeacherConfig) -> None:
        super().__init__()
        from openflextok.convert.mobilenet import load_mobilenet

        self.network, self.stride = load_mobilenet(), config.stride
        self.dim = self(torch.zeros(1, 3, 64, 64)).shape[1]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.network.spatial(images_BCHW, self.stride)


class Dinov2Teacher(nn.Module):
    """DINOv2 patch features; images are resized so that one feature patch matches 14 pixels."""

    MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def __init__(self, config: Dinov2TeacherConfig) -> None:
        super().__init__()
        try:
            from transformers import Dinov2Model
        except ImportError:
            raise ImportError("a DINOv2 teacher needs transformers: pip install 'openflextok[train]'") from None
        try:
            self.network = Dinov2Model.from_pretrained(config.weights, use_safetensors=True)
        except (OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise ConfigError(
                f"no DINOv2 weights in {config.weights!r} ({reason}): set repa.teacher.weights to a folder with config.json "
                "and model.safetensors, or to a Hub id that can be reached"
            ) from None
        self.dim: int = self.network.config.hidden_size
        self.patch: int = cast(int, self.network.config.patch_size)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        h, w = (math.ceil(side / 16) for side in images_BCHW.shape[-2:])
        mean, std = (images_BCHW.new_tensor(numbers).view(1, 3, 1, 1) for numbers in (self.MEAN, self.STD))
        pixels = ((images_BCHW + 1) / 2 - mean) / std
        pixels = F.interpolate(pixels, size=(h * self.patch, w * self.patch), mode="bicubic", antialias=True)
        features = self.network(pixel_values=pixels).last_hidden_state[:, 1:]
        return features.transpose(1, 2).unflatten(2, (h, w))


TEACHERS: dict[type, type] = {
    StubTeacherConfig: StubTeacher,
    MobileNetTeacherConfig: MobileNetTeacher,
    Dinov2TeacherConfig: Dinov2Teacher,
}


class Repa(nn.Module):
    """weight * (1 - cosine) between projected decoder features and the teacher's, both on the decoder's grid."""

    def __init__(self, config: RepaConfig, width: int) -> None:
        super().__init__()
        self.weight = config.weight
        self.teacher = TEACHERS[type(config.teacher)](config.teacher).requires_grad_(False).eval()
        self.projection = nn.Sequential(
            nn.Linear(width, config.hidden), nn.SiLU(), nn.Linear(config.hidden, self.teacher.dim)
        )

    def forward(self, features_BPD: Tensor, images_BCHW: Tensor) -> Losses:
        H, W = images_BCHW.shape[-2:]
        rows = round(math.sqrt(features_BPD.shape[1] * H / W))
        grid = (rows, features_BPD.shape[1] // rows)
        with torch.no_grad():
            target_BDhw = F.interpolate(self.teacher(images_BCHW).float(), size=grid, mode="bilinear", antialias=True)
        predicted_BPD = self.projection(features_BPD).float()
        cosine_BP = F.cosine_similarity(predicted_BPD, target_BDhw.flatten(2).transpose(1, 2), dim=-1)
        return Losses({"repa": self.weight * (1 - cosine_BP.mean())})
