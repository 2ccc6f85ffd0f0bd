"""The class score in closed form, and where it is measured."""

import math

import pytest
import torch

from openflextok.evaluate import metric_table
from openflextok.evaluate.class_score import class_score
from openflextok.evaluate.measuring import Instruments
from openflextok.evaluate.metric_table import SETS, choose
from openflextok.evaluate.results import Network


def test_sure_and_different_images_score_the_number_of_classes():
    assert class_score(torch.eye(7).repeat(3, 1)) == pytest.approx(7)


def test_images_that_look_alike_or_like_anything_score_one():
    assert class_score(torch.tensor([[0.0, 1.0, 0.0]]).repeat(4, 1)) == pytest.approx(1)
    assert class_score(torch.full((5, 3), 1 / 3)) == pytest.approx(1)


def test_in_between_by_hand():
    p = torch.tensor([[0.9, 0.1], [0.3, 0.7]])
    mean = [0.6, 0.4]
    divergences = [sum(q * math.log(q / m) for q, m in zip(row, mean, strict=True)) for row in p.tolist()]
    assert class_score(p) == pytest.approx(math.exp(sum(divergences) / 2), rel=1e-6)


def test_it_is_the_softmax_of_the_classifier(monkeypatch):
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 5)
    monkeypatch.setattr(metric_table, "load_classifier", lambda: layer)
    features = torch.randn(6, 4)
    found = SETS["classes"].against(torch.randn(2, 4), False)(features)
    assert found == (pytest.approx(class_score(layer(features).softmax(-1))),)


def test_features_of_other_networks_are_not_classified():
    assert SETS["classes"].reads(Network("mobilenet-v2", "")) and SETS["kid"].reads(Network("x", ""))
    assert not SETS["classes"].reads(Network("inception-v3-fid", ""))
    tools = Instruments.load(choose(["classes"]), (), (32, 32), 10, torch.device("cpu"))
    assert tools.notes == ("classes is left out: it reads features of mobilenet-v2 alone",)
