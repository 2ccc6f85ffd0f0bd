"""Every metric by its name: of pairs of images, of sets of features, of tokens.

    PAIRS   (original, rebuilt) (B,C,H,W) in [-1,1], 8-bit levels -> (B, figures)
    SETS    features of the real (N,D) and of the made (M,D)      -> one number a figure
    TOKENS  ids (R,N)                                             -> see `token_figures`

Shapes: B batch, C channels, H height, W width, N real, M made, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from openflextok.config import nearest
from openflextok.convert.lpips import load_lpips
from openflextok.convert.mobilenet import load_classifier
from openflextok.evaluate.class_score import class_score
from openflextok.evaluate.colours import channel_shift, saturation_shift
from openflextok.evaluate.frechet import DistanceTo, gaussian_of
from openflextok.evaluate.kernel import kernel_distance
from openflextok.evaluate.metrics import SSIM_WINDOW, psnr, ssim
from openflextok.evaluate.neighbours import neighbours
from openflextok.evaluate.results import Network
from openflextok.evaluate.statistics import Moments
from openflextok.nets.lpips import BACKBONES
from openflextok.tokenizer import weights_digest

MOST_DB = 100.0  # stands for equal images, as an infinite value would swallow the mean
FEATURES_AT_ONCE = 1024


@dataclass(frozen=True)
class PairMeasure:
    """A metric of pairs, ready to use."""

    compute: Callable[[Tensor, Tensor], Tensor]
    """(original, rebuilt) -> (B, figures)."""
    network: Network | None = None


@dataclass(frozen=True)
class PairMetric:
    """A metric of an image and its rebuilding."""

    figures: tuple[str, ...]
    least_side: int
    """Pixels; smaller images have no such figure."""
    load: Callable[[torch.device], PairMeasure]


def _column(compute: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda original_BCHW, rebuilt_BCHW: compute(original_BCHW, rebuilt_BCHW)[:, None]


def _capped_psnr(original_BCHW: Tensor, rebuilt_BCHW: Tensor) -> Tensor:
    return psnr(original_BCHW, rebuilt_BCHW).clamp(max=MOST_DB)


def _colours(original_BCHW: Tensor, rebuilt_BCHW: Tensor) -> Tensor:
    shift_B1 = saturation_shift(original_BCHW, rebuilt_BCHW)[:, None]
    return torch.cat([channel_shift(original_BCHW, rebuilt_BCHW), shift_B1], dim=1)


def _ms_ssim(device: torch.device) -> PairMeasure:
    try:
        from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as measure
    except ImportError:
        raise ImportError("torchmetrics is not installed: pip install 'openflextok[eval]' for ms-ssim") from None

    def compute(original_BCHW: Tensor, rebuilt_BCHW: Tensor) -> Tensor:
        found = measure(rebuilt_BCHW + 1, original_BCHW + 1, data_range=2.0, reduction="none")  # black is 0
        assert isinstance(found, Tensor)
        return found.reshape(-1)

    return PairMeasure(_column(compute))


def _lpips(net: str) -> PairMetric:
    def load(device: torch.device) -> PairMeasure:
        module = load_lpips(net, device)
        return PairMeasure(_column(module), Network(f"lpips-{net}", weights_digest(module)))

    return PairMetric((f"lpips-{net}",), BACKBONES[net].smallest_side, load)


PAIRS: dict[str, PairMetric] = {
    "psnr": PairMetric(("psnr",), 1, lambda device: PairMeasure(_column(_capped_psnr))),
    "ssim": PairMetric(("ssim",), SSIM_WINDOW, lambda device: PairMeasure(_column(ssim))),
    "ms-ssim": PairMetric(("ms-ssim",), 176, _ms_ssim),
    "lpips-alex": _lpips("alex"),
    "lpips-vgg": _lpips("vgg"),
    "colour": PairMetric(
        ("red_shift", "green_shift", "blue_shift", "saturation_shift"), 1, lambda device: PairMeasure(_colours)
    ),
}

Compare = Callable[[Tensor], tuple[float, ...]]  # features of the made (M,D) -> figures


@dataclass(frozen=True)
class SetMetric:
    """A distance of two sets, or how much of one lies in the other."""

    figures: tuple[str, ...]
    least_images: int
    against: Callable[[Tensor, bool], Compare]
    """(features of the real, whether made image i is real image i rebuilt) -> what compares made ones with them."""
    network: str = ""
    """The only network whose features it reads; any, where empty."""

    def reads(self, network: Network) -> bool:
        """Whether it can be computed from features of this network."""
        return self.network in ("", network.name)


def _moments(features_ND: Tensor) -> Moments:
    first, *rest = map(Moments.of, features_ND.split(FEATURES_AT_ONCE))
    for part in rest:
        first = first.merge(part)
    return first


def _frechet(real_ND: Tensor, paired: bool) -> Compare:
    distance = DistanceTo(gaussian_of(_moments(real_ND)))
    return lambda made_MD: (distance(gaussian_of(_moments(made_MD))),)


def _kernel(real_ND: Tensor, paired: bool) -> Compare:
    return lambda made_MD: (kernel_distance(real_ND, made_MD, paired),)


def _neighbours(real_ND: Tensor, paired: bool) -> Compare:
    def compare(made_MD: Tensor) -> tuple[float, ...]:
        found = neighbours(real_ND, made_MD)
        return found.precision, found.recall, found.density, found.coverage

    return compare


def _class_score(real_ND: Tensor, paired: bool) -> Compare:
    classify = load_classifier()
    return lambda made_MD: (class_score(classify(made_MD).softmax(-1)),)


SETS: dict[str, SetMetric] = {
    "frechet": SetMetric(("frechet",), 2, _frechet),
    "kid": SetMetric(("kid",), 2, _kernel),
    "neighbours": SetMetric(("precision", "recall", "density", "coverage"), 6, _neighbours),
    "classes": SetMetric(("class_score",), 1, _class_score, "mobilenet-v2"),
}

TOKENS = ("codes", "bits")
OTHER_NAMES = {
    "fid": "frechet",
    "rfid": "frechet",
    "gfid": "frechet",
    "lpips": "lpips-alex",
    "precision": "neighbours",
    "recall": "neighbours",
    "density": "neighbours",
    "coverage": "neighbours",
    "is": "classes",
    "perplexity": "codes",
    "bpp": "bits",
}
"""What the field calls them, or a part of them."""


@dataclass(frozen=True)
class Chosen:
    """Names of metrics, by kind."""

    pairs: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()


def choose(names: Sequence[str]) -> Chosen:
    """The metrics of these names, in the order of the table; ValueError with the nearest name for an unknown one, or none."""
    known = [*PAIRS, *SETS, *TOKENS]
    if not names:
        raise ValueError(f"no metrics: give some of {', '.join(known)}")
    for name in names:
        if name not in known:
            other = OTHER_NAMES.get(name.lower())
            raise ValueError(
                f"no metric {name!r}" + (f"; it is in {other!r}" if other else nearest(name.lower(), known))
            )
    return Chosen(*(tuple(name for name in table if name in names) for table in (PAIRS, SETS, TOKENS)))
