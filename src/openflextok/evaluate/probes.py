"""Linear classifiers on frozen features: what can be read off them, and off the first tokens of an image.

    features (N,D) -> standardise -> linear -> softmax -> cross-entropy + decay / 2 |weights|^2, to its one minimum
    ids (N,K) -> the quantizer's values (N,K,D) -> features (N,KD), a probe for each K

The loss is convex and solved from zero by L-BFGS, so that nothing is drawn and a probe depends on its data alone.

Shapes: N samples, D features or token dimensions, C classes, K tokens.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from openflextok.interfaces import Quantizer

DECAYS = (1.0, 0.1, 0.01, 0.001, 0.0001)
HELD_BACK = 5  # one group in so many chooses the decay
Z = 1.959964  # standard deviations of a 95 % interval


@dataclass(frozen=True)
class Share:
    """How many of a number of independent trials succeeded."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        return self.hits / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval, which stays within 0..1 and is never empty (E. B. Wilson, 1927)."""
        p, scale = self.value, 1 + Z**2 / self.n
        middle = (p + Z**2 / (2 * self.n)) / scale
        half = Z / scale * math.sqrt(p * (1 - p) / self.n + Z**2 / (4 * self.n**2))
        return max(0.0, middle - half), min(1.0, middle + half)

    @property
    def figures(self) -> dict[str, float]:
        """As a row of results, with the interval."""
        low, high = self.interval
        return {"accuracy": self.value, "low": low, "high": high, "n": self.n}


@dataclass(frozen=True)
class LinearProbe:
    """A fitted classifier."""

    classes: tuple[str, ...]
    mean_D: Tensor
    scale_D: Tensor
    weight_CD: Tensor
    bias_C: Tensor
    decay: float

    def logits(self, features_ND: Tensor) -> Tensor:
        """(N,C), up to a constant per sample the logarithms of the classes' probabilities."""
        return F.linear((features_ND - self.mean_D) / self.scale_D, self.weight_CD, self.bias_C)

    def names(self, features_ND: Tensor) -> list[str]:
        """The likeliest class of each sample."""
        return [self.classes[number] for number in self.logits(features_ND).argmax(1).tolist()]

    def accuracy(self, features_ND: Tensor, labels: Sequence[str], top: int = 1) -> Share:
        """How often the label is among the `top` likeliest classes; a label that training did not have never is."""
        best_NT = self.logits(features_ND).topk(min(top, len(self.classes)), dim=1).indices.tolist()
        found = zip(best_NT, labels, strict=True)
        return Share(sum(label in (self.classes[number] for number in best) for best, label in found), len(labels))


def fit_probe(
    features_ND: Tensor, labels: Sequence[str], decay: float, start: LinearProbe | None = None
) -> LinearProbe:
    """The classifier of least loss on these samples; start: where to look first, for speed.

    Raises ValueError for fewer than two classes, another number of labels, or features that are not finite.
    """
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2 or len(labels) != len(features_ND):
        raise ValueError(
            f"{len(labels)} labels of {len(classes)} classes for {len(features_ND)} samples: need 2 or more"
        )
    if not bool(features_ND.isfinite().all()):
        raise ValueError("some features are not finite: a classifier cannot be fitted")
    number_of = {name: number for number, name in enumerate(classes)}
    target_N = torch.tensor([number_of[label] for label in labels], device=features_ND.device)
    mean_D, std_D = features_ND.mean(0), features_ND.std(0, correction=0)
    scale_D = torch.where(std_D > 1e-6, std_D, 1.0)
    x_ND = (features_ND - mean_D) / scale_D
    first = start if start is not None and start.classes == classes else None
    weight_CD = first.weight_CD.clone() if first else x_ND.new_zeros(len(classes), x_ND.shape[1])
    bias_C = first.bias_C.clone() if first else x_ND.new_zeros(len(classes))
    weights = [weight_CD.requires_grad_(), bias_C.requires_grad_()]
    optimizer = torch.optim.LBFGS(weights, max_iter=300, tolerance_grad=1e-5, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(F.linear(x_ND, weight_CD, bias_C), target_N) + decay / 2 * weight_CD.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)  # pyright: ignore  (a tensor counts as a number)
    return LinearProbe(classes, mean_D, scale_D, weight_CD.detach(), bias_C.detach(), decay)


def choose_probe(
    features_ND: Tensor,
    labels: Sequence[str],
    groups: Sequence[Hashable] | None = None,
    decays: Sequence[float] = DECAYS,
) -> LinearProbe:
    """The probe on all samples, with the decay under which every fifth group is named best by a probe on the others.

    groups: samples of one group (crops of a picture) are never on both sides; each its own if not given. Of decays
    that are equally good the larger wins.
    """
    groups = range(len(labels)) if groups is None else groups
    number_of = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    back_N = torch.tensor([number_of[group] % HELD_BACK == HELD_BACK - 1 for group in groups])
    others = [label for label, back in zip(labels, back_N.tolist(), strict=True) if not back]
    asked = [label for label, back in zip(labels, back_N.tolist(), strict=True) if back]
    best, best_hits, probe = decays[0], -1, None
    for decay in sorted(decays, reverse=True) if asked and len(decays) > 1 else ():
        probe = fit_probe(features_ND[~back_N], others, decay, probe)
        hits = probe.accuracy(features_ND[back_N], asked).hits
        if hits > best_hits:
            best, best_hits = decay, hits
    return fit_probe(features_ND, labels, best)


def majority(train: Sequence[str], heldout: Sequence[str]) -> Share:
    """How often the most frequent training label is right."""
    label = Counter(train).most_common(1)[0][0]
    return Share(sum(other == label for other in heldout), len(heldout))


@dataclass(frozen=True)
class LabelledTokens:
    """Ids with what they show."""

    ids_NK: Tensor
    labels: Sequence[str]
    pictures: Sequence[str]
    """Which picture each is of: crops of one are not independent."""


@dataclass(frozen=True)
class TokenProbe:
    """What the first `length` tokens say of the class of held-out images."""

    length: int
    accuracy: Share
    top5: Share
    decay: float


def prefix_features(quantizer: Quantizer, ids_NK: Tensor, length: int) -> Tensor:
    """The values of the first `length` tokens, side by side: (N, length x D) float32."""
    return quantizer.lookup(ids_NK[:, :length]).flatten(1).float()


def probe_prefix(
    quantizer: Quantizer,
    train: LabelledTokens,
    heldout: LabelledTokens,
    length: int,
    decays: Sequence[float] = DECAYS,
) -> TokenProbe:
    """A probe trained on the first tokens of training rows, its decay chosen among them, asked about held-out rows."""
    probe = choose_probe(prefix_features(quantizer, train.ids_NK, length), train.labels, train.pictures, decays)
    asked_ND = prefix_features(quantizer, heldout.ids_NK, length)
    top1, top5 = (probe.accuracy(asked_ND, heldout.labels, top) for top in (1, 5))
    return TokenProbe(length, top1, top5, probe.decay)
