"""Probes against the conditions of a minimum, closed forms, and features whose answer is known."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from openflextok.config import FSQConfig
from openflextok.evaluate.probes import (
    LabelledTokens,
    Share,
    choose_probe,
    fit_probe,
    majority,
    prefix_features,
    probe_prefix,
)
from openflextok.quantizers.fsq import FSQ


def blobs(n: int, classes: int, spread: float, seed: int = 0) -> tuple[Tensor, list[str]]:
    """Samples around one corner of a simplex for each class."""
    stream = torch.Generator().manual_seed(seed)
    number_N = torch.randint(classes, (n,), generator=stream)
    x_ND = F.one_hot(number_N, classes).float() * 3 + spread * torch.randn(n, classes, generator=stream)
    return x_ND, [f"class {number}" for number in number_N.tolist()]


def test_the_solution_is_the_minimum_of_the_loss() -> None:
    """At the minimum of a convex loss its gradient is zero: sum of (p - y) x / n = -decay w, and of (p - y) = 0."""
    x_ND, labels = blobs(400, 4, 2.0)
    x_ND = x_ND * 5 + 7
    probe = fit_probe(x_ND, labels, decay=0.01)
    z_ND = (x_ND - x_ND.mean(0)) / x_ND.std(0, correction=0)
    y_NC = F.one_hot(torch.tensor([probe.classes.index(label) for label in labels])).float()
    error_NC = probe.logits(x_ND).softmax(1) - y_NC
    torch.testing.assert_close(error_NC.T @ z_ND / 400, -0.01 * probe.weight_CD, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(error_NC.mean(0), torch.zeros(4), atol=1e-4, rtol=0)


def test_without_information_the_probabilities_are_the_frequencies() -> None:
    x_ND = torch.ones(10, 3)  # constant features: only the biases are left
    probe = fit_probe(x_ND, ["a"] * 7 + ["b"] * 3, decay=0.1)
    torch.testing.assert_close(probe.logits(x_ND[:1]).softmax(1)[0], torch.tensor([0.7, 0.3]), atol=1e-3, rtol=0)
    assert probe.logits(x_ND + 1).isfinite().all()


def test_two_points_have_a_closed_form() -> None:
    """x = -1, 1: the loss log(1 + exp(-2v)) + decay v^2 of weights (-v, v), solved here by bisection."""
    probe = fit_probe(torch.tensor([[-5.0], [5.0]]), ["a", "b"], decay=0.2)
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        slope = -2 / (1 + math.exp(2 * middle)) + 2 * 0.2 * middle
        low, high = (middle, high) if slope < 0 else (low, middle)
    torch.testing.assert_close(probe.weight_CD, torch.tensor([[-low], [low]]), atol=1e-4, rtol=1e-4)


def test_where_it_starts_does_not_matter() -> None:
    x_ND, labels = blobs(300, 3, 1.5)
    cold = fit_probe(x_ND, labels, 0.01)
    warm = fit_probe(x_ND, labels, 0.01, start=fit_probe(x_ND, labels, 1.0))
    torch.testing.assert_close(cold.weight_CD, warm.weight_CD, atol=2e-3, rtol=1e-2)
    assert torch.equal(cold.weight_CD, fit_probe(x_ND, labels, 0.01).weight_CD)


def test_accuracy_counts_by_hand() -> None:
    probe = fit_probe(torch.eye(3).repeat(5, 1), ["a", "b", "c"] * 5, decay=0.01)
    assert probe.names(torch.eye(3)) == ["a", "b", "c"]
    assert probe.accuracy(torch.eye(3), ["a", "c", "unheard of"]) == Share(1, 3)
    assert probe.accuracy(torch.eye(3), ["b", "c", "unheard of"], top=3) == Share(2, 3)


def test_the_decay_is_chosen_by_samples_that_the_fit_did_not_see() -> None:
    """More dimensions of noise than samples: a weak decay learns the training labels by heart, a strong one does not."""
    stream = torch.Generator().manual_seed(0)
    labels = ["ab"[i % 2] for i in range(60)]
    x_ND = torch.randn(60, 200, generator=stream)
    x_ND += torch.tensor([[-0.35], [0.35]]).repeat(30, 1)  # a little in every dimension
    chosen = choose_probe(x_ND, labels, decays=(1e-4, 1e-1, 10.0))
    back = [i for i in range(60) if i % 5 == 4]
    rest = [i for i in range(60) if i % 5 != 4]
    hits = {}
    for decay in (10.0, 1e-1, 1e-4):
        probe = fit_probe(x_ND[rest], [labels[i] for i in rest], decay)
        hits[decay] = probe.accuracy(x_ND[back], [labels[i] for i in back]).hits
    assert chosen.decay == max(hits, key=lambda decay: hits[decay])
    torch.testing.assert_close(chosen.weight_CD, fit_probe(x_ND, labels, chosen.decay).weight_CD)


def test_crops_of_a_picture_stay_together() -> None:
    """Crops share their picture's features and its label, which is drawn: by heart is all that can be learned. Crops kept
    apart reward it; pictures held back as a whole do not, as there the most frequent label is the best answer."""
    stream = torch.Generator().manual_seed(0)
    pictures = [i // 4 for i in range(160)]
    x_ND = torch.randn(40, 100, generator=stream)[pictures] + 0.01 * torch.randn(160, 100, generator=stream)
    label_of = ["ab"[i] for i in (torch.rand(40, generator=stream) < 0.25).long().tolist()]
    labels = [label_of[picture] for picture in pictures]
    assert choose_probe(x_ND, labels, decays=(1e-3, 100.0)).decay == 1e-3
    assert choose_probe(x_ND, labels, pictures, decays=(1e-3, 100.0)).decay == 100.0


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0)]
)
def test_wilson_intervals_are_those_of_the_tables(hits: int, n: int, low: float, high: float) -> None:
    assert Share(hits, n).interval == pytest.approx((low, high), abs=1e-4)


def test_majority() -> None:
    assert majority(["a", "b", "b"], ["a", "b", "c", "b"]) == Share(2, 4)


def test_what_the_tokens_say_of_the_class_by_length() -> None:
    """The second token is the class, the others are noise: one token says nothing, two say all."""
    quantizer, stream = FSQ(FSQConfig(levels=(4, 6))), torch.Generator().manual_seed(0)

    def rows(n: int) -> LabelledTokens:
        ids_NK = torch.randint(24, (n, 4), generator=stream)
        number_N = torch.randint(3, (n,), generator=stream)
        ids_NK[:, 1] = torch.tensor([0, 3, 20])[number_N]  # three corners of the grid
        return LabelledTokens(ids_NK, [f"class {i}" for i in number_N.tolist()], [str(i) for i in range(n)])

    train, heldout = rows(300), rows(100)
    found = [probe_prefix(quantizer, train, heldout, length) for length in (1, 2, 4)]
    assert found[0].accuracy.value < 0.5 and found[1].accuracy == found[2].accuracy == Share(100, 100)
    assert found[0].top5 == Share(100, 100)  # of three classes
    features = prefix_features(quantizer, train.ids_NK, 2)
    assert features.shape == (300, 4)
    assert torch.equal(features[:, 2:], quantizer.lookup(train.ids_NK[:, 1]))


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (torch.zeros(2, 3), ["a", "a"], "2 labels of 1 classes"),
        (torch.zeros(3, 3), ["a", "b"], "for 3 samples"),
        (torch.full((2, 3), math.nan), ["a", "b"], "not finite"),
    ],
)
def test_what_cannot_be_fitted(features: Tensor, labels: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_probe(features, labels, 0.1)
