"""FID's InceptionV3: keys, folding, the features of TorchScript itself (golden), and a reader that runs nothing."""

import io
import pickle  # noqa: TID251 - to write what must be refused
import zipfile

import pytest
import torch
from torch import nn

from openflextok.convert import inception as convert
from openflextok.convert.torch_script import read_script_tensors


def test_names_are_the_archives():
    table = convert.key_table()
    assert len(table) == len(set(table.values())) == 94
    assert table["blocks.0.0.0"] == "net.layers.conv"
    assert table["blocks.1.paths.0.0.0"] == "net.layers.mixed.conv"
    assert table["blocks.1.paths.3.1.0"] == "net.layers.mixed.tower_2.conv"
    assert table["blocks.9.paths.1.3.0"] == "net.layers.mixed_8.tower_1.conv_3"
    assert table["blocks.11.paths.2.2.paths.1.0"] == "net.layers.mixed_10.tower_1_mixed_conv_1"


def foreign_state() -> dict[str, torch.Tensor]:
    """Random tensors under the archive's names."""
    generator, state = torch.Generator().manual_seed(0), {}
    with torch.device("meta"):
        model = convert.InceptionV3()
    for ours, theirs in convert.key_table().items():
        weight = model.get_submodule(ours).weight
        assert isinstance(weight, torch.Tensor)
        state[f"{theirs}.weight"] = torch.randn(weight.shape, generator=generator)
        for part in ("beta", "mean", "var"):
            state[f"{theirs}.{part}"] = torch.rand(weight.shape[0], generator=generator) + 0.5
    return state


def test_folding_equals_convolution_and_batch_norm():
    foreign = foreign_state()
    state = convert.fold_state_dict(foreign)
    with torch.device("meta"):
        assert set(state) == set(convert.InceptionV3().state_dict())
    x = torch.randn(2, 192, 6, 6, generator=torch.Generator().manual_seed(1))
    theirs = [foreign[f"net.layers.mixed.conv.{part}"] for part in convert.PARTS]
    expected = nn.functional.batch_norm(
        nn.functional.conv2d(x, theirs[0]), theirs[2], theirs[3], None, theirs[1], eps=convert.BATCH_NORM_EPS
    )
    ours = [state[f"blocks.1.paths.0.0.0.{part}"] for part in ("weight", "bias")]
    torch.testing.assert_close(nn.functional.conv2d(x, *ours), expected, rtol=1e-4, atol=1e-4)


def test_other_keys_are_refused():
    foreign = foreign_state()
    foreign.pop("net.layers.mixed_5.conv.beta")
    with pytest.raises(ValueError, match=r"mixed_5\.conv\.beta"):
        convert.fold_state_dict(foreign)


def test_features_equal_those_of_the_script(need_network, golden, synthetic_pair):
    need_network("inception-v3-fid")
    with torch.inference_mode():
        features = convert.load_inception()(synthetic_pair[0])
    torch.testing.assert_close(
        features[:, :16], torch.tensor(golden["inception"]["features_head"]), rtol=1e-3, atol=1e-4
    )
    sums = torch.tensor(golden["inception"]["feature_sums"], dtype=torch.float64)
    torch.testing.assert_close(features.double().sum(1), sums, rtol=1e-5, atol=0)


# -- the reader ------------------------------------------------------------------------------------------------------


def archive(path, data: bytes, **storages: bytes) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("net/data.pkl", data)
        for key, content in storages.items():
            file.writestr(f"net/data/{key.removeprefix('s')}", content)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensors_of_a_scripted_module_come_back_equal(tmp_path):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2)))
    torch.jit.script(module).save(str(tmp_path / "net.pt"))
    found = read_script_tensors(tmp_path / "net.pt")
    assert set(found) == set(module.state_dict())
    for name, tensor in module.state_dict().items():
        assert torch.equal(found[name], tensor)


class Evil:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_call_raises_and_does_not_run(tmp_path):
    marker, data = tmp_path / "ran", io.BytesIO()
    pickle.dump({"net": Evil(marker)}, data, protocol=2)
    archive(tmp_path / "evil.pt", data.getvalue())
    with pytest.raises(ValueError, match="refused to unpickle"):
        read_script_tensors(tmp_path / "evil.pt")
    assert not marker.exists()


def test_other_archives_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as file:
        file.writestr("net/other.pkl", b"")
    with pytest.raises(ValueError, match="not a TorchScript archive"):
        read_script_tensors(tmp_path / "x.pt")
    archive(tmp_path / "plain.pt", pickle.dumps({"a": 1}, protocol=2))
    with pytest.raises(ValueError, match="holds no module"):
        read_script_tensors(tmp_path / "plain.pt")
