"""Feature networks of set distances: images -> vectors, each network with the hash of its weights.

    images (B,3,H,W) in [-1,1] -> Extractor -> (B,D)

"mobilenet-v2" and "inception-v3" (FID) always work (fetched once); networks of transformers (DINOv2, CLIP; safetensors) come out of a folder or the Hub.

Shapes: B batch, C channels, H height, W width, D features.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openflextok import catalog
from openflextok.config import nearest
from openflextok.convert.inception import load_inception
from openflextok.convert.mobilenet import load_mobilenet
from openflextok.evaluate.results import Network
from openflextok.nets.inception import FEATURES as INCEPTION_FEATURES
from openflextok.nets.mobilenet import FEATURES
from openflextok.tokenizer import weights_digest

AT_ONCE = 32  # images


@dataclass(frozen=True)
class Extractor:
    """A feature network and what it is called."""

    network: Network
    width: int
    """Features of an image."""
    least_side: int
    """Pixels; smaller images are refused."""
    features: Callable[[Tensor], Tensor]
    """(B,3,H,W) in [-1,1] -> (B,D)."""

    @torch.inference_mode()
    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """(B,D) float32 on the CPU; ValueError for images that are too small."""
        if min(images_BCHW.shape[2:]) < self.least_side:
            size, name = tuple(images_BCHW.shape[2:]), self.network.name
            raise ValueError(f"images of {size} pixels are too small for {name}: it needs {self.least_side} a side")
        return torch.cat([self.features(part).float().cpu() for part in images_BCHW.split(AT_ONCE)])


def mobilenet(device: torch.device | str = "cpu") -> Extractor:
    """MobileNetV2 on images as large as they are."""
    module = load_mobilenet(device)
    return Extractor(Network("mobilenet-v2", weights_digest(module)), FEATURES, 32, module)


def inception(device: torch.device | str = "cpu") -> Extractor:
    """The InceptionV3 of FID: with it, the Frechet distance is FID."""
    module = load_inception(device)
    return Extractor(Network("inception-v3-fid", weights_digest(module)), INCEPTION_FEATURES, 1, module)


NETWORKS: dict[str, Callable[[torch.device | str], Extractor]] = {"mobilenet-v2": mobilenet, "inception-v3": inception}


def load_extractor(name: str, device: torch.device | str = "cpu") -> Extractor:
    """A network by its name in `NETWORKS`, or of transformers, from a folder or the Hub; ValueError says where weights belong."""
    if name in NETWORKS:
        return NETWORKS[name](device)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return from_folder(folder, folder.resolve().name, device)
    if catalog.is_hub_id(name):
        return from_folder(catalog.download(name, FILES), name, device)
    how = (
        "a Hub id (facebook/dinov2-base), or a folder with config.json, preprocessor_config.json and model.safetensors"
    )
    raise ValueError(f"no feature network {name!r}{nearest(name, NETWORKS)}; or give {how} of DINOv2 or CLIP")


# -- networks of transformers ---------------------------------------------------------------------------------------


FILES = ("config.json", "preprocessor_config.json", "model.safetensors")


def from_folder(folder: Path, name: str, device: torch.device | str = "cpu") -> Extractor:
    """An image network of transformers out of a folder, to be called by this name: no code of the folder is run."""
    config = _read(folder / "config.json")
    kind = str(config.get("model_type"))
    if kind not in FAMILIES:
        raise ValueError(f"{folder} holds a model of type {kind!r}: image features are known of {', '.join(FAMILIES)}")
    if not (folder / "model.safetensors").is_file():
        raise ValueError(f"{folder} has no model.safetensors: put the weights there (no pickled file is read)")
    try:
        import transformers
    except ImportError:
        raise ImportError(
            "transformers is not installed: pip install 'openflextok[text]' to use its networks"
        ) from None
    family = FAMILIES[kind]
    module = getattr(transformers, family.cls).from_pretrained(folder, local_files_only=True, use_safetensors=True)
    module = module.to(device).eval().requires_grad_(False)
    look = Preprocessing.of(_read(folder / "preprocessor_config.json"))
    settings = json.dumps([config, dataclasses.asdict(look)], sort_keys=True)
    width = family.features(module, look(torch.zeros(1, 3, 32, 32, device=device))).shape[1]
    network = Network.of(f"{kind}:{name}", weights_digest(module), settings)
    return Extractor(network, width, 1, lambda x: family.features(module, look(x)))


@dataclass(frozen=True)
class Family:
    """A class of transformers and which of its outputs are the features."""

    cls: str
    features: Callable[[nn.Module, Tensor], Tensor]


FAMILIES = {
    "dinov2": Family("Dinov2Model", lambda module, x: module(pixel_values=x).pooler_output),
    "dinov2_with_registers": Family("Dinov2WithRegistersModel", lambda module, x: module(pixel_values=x).pooler_output),
    "clip": Family("CLIPVisionModelWithProjection", lambda module, x: module(pixel_values=x).image_embeds),
}


@dataclass(frozen=True)
class Preprocessing:
    """How images become what such a network reads: one side (bicubic, antialiased, whole picture), mean, deviation."""

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, data: dict[str, Any]) -> Preprocessing:
        """Out of a preprocessor_config.json: the side that the network sees."""
        size = data.get("crop_size", data.get("size", 224))
        side = size if isinstance(size, int) else size.get("height", size.get("shortest_edge", 224))
        return cls(int(side), tuple(data.get("image_mean", (0.5,) * 3)), tuple(data.get("image_std", (0.5,) * 3)))

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        size = (self.side, self.side)
        levels = F.interpolate(images_BCHW, size=size, mode="bicubic", antialias=True).clamp(-1, 1).add(1).div(2)
        mean, std = (levels.new_tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (levels - mean) / std


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path.parent} has no {path.name}: give a whole folder, as transformers saves it")
    return json.loads(path.read_text())
