"""Feature networks: of transformers from a folder, with what their folder says of images; and what is refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from openflextok import catalog
from openflextok.evaluate.features import Extractor, Preprocessing, load_extractor
from openflextok.evaluate.results import Network

LOOK = {"crop_size": {"height": 28, "width": 28}, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    """A DINOv2 of width 16 with random weights, as transformers saves it, and its folder."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, initializer_range=0.5
    )
    folder = tmp_path_factory.mktemp("networks") / "dino-tiny"
    model = transformers.Dinov2Model(config).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(LOOK))
    return model, folder


@pytest.fixture
def images():
    return torch.rand(3, 3, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_folder_of_transformers_gives_its_features(dinov2, images):
    model, folder = dinov2
    extractor = load_extractor(str(folder))
    mean, std = (torch.tensor(LOOK[name]).view(1, 3, 1, 1) for name in ("image_mean", "image_std"))
    with torch.inference_mode():
        expected = model(pixel_values=((images + 1) / 2 - mean) / std).pooler_output
    torch.testing.assert_close(extractor(images), expected, rtol=1e-4, atol=1e-5)
    assert extractor.width == 16
    assert extractor.network.name == "dinov2:dino-tiny"


def test_what_a_network_sees_is_part_of_what_it_is(dinov2, tmp_path):
    _, folder = dinov2
    before = load_extractor(str(folder)).network
    assert before == load_extractor(str(shutil.copytree(folder, tmp_path / "same" / "dino-tiny"))).network
    other = shutil.copytree(folder, tmp_path / "other" / "dino-tiny")
    (other / "preprocessor_config.json").write_text(json.dumps(LOOK | {"crop_size": 56}))
    changed = load_extractor(str(other)).network
    assert changed.name == before.name and changed.sha256 != before.sha256


def test_a_name_of_the_hub_is_fetched_and_kept_as_the_name(dinov2, images, monkeypatch):
    _, folder = dinov2
    asked = []
    monkeypatch.setattr(catalog, "download", lambda name, files: asked.append((name, files)) or folder)
    extractor = load_extractor("facebook/dinov2-tiny")
    assert asked == [("facebook/dinov2-tiny", ("config.json", "preprocessor_config.json", "model.safetensors"))]
    assert extractor.network.name == "dinov2:facebook/dinov2-tiny"
    assert torch.equal(extractor(images), load_extractor(str(folder))(images))


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="no folder 'nobody/nothing' here, and the Hub could not be reached") as error:
        load_extractor("nobody/nothing")
    assert "\n" not in str(error.value)


def test_whole_pictures_are_resized_to_what_the_network_sees():
    look = Preprocessing.of(LOOK)
    seen = look(torch.full((1, 3, 50, 70), 0.2))
    assert seen.shape == (1, 3, 28, 28)
    expected = ((0.6 - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.2, 0.3, 0.4])).view(1, 3, 1, 1)
    torch.testing.assert_close(seen, expected.expand_as(seen), rtol=1e-4, atol=1e-5)
    assert Preprocessing.of({"size": {"shortest_edge": 224}}).side == 224


def test_batches_are_split_and_small_images_refused():
    sizes = []

    def features(x):
        sizes.append(len(x))
        return x.mean((2, 3))

    extractor = Extractor(Network("mean", "00"), 3, 8, features)
    x = torch.rand(70, 3, 8, 8)
    torch.testing.assert_close(extractor(x), x.mean((2, 3)))
    assert sizes == [32, 32, 6]
    with pytest.raises(ValueError, match="too small for mean: it needs 8"):
        extractor(torch.rand(1, 3, 7, 9))


def test_what_is_not_there_is_said_with_where_it_belongs(tmp_path):
    with pytest.raises(
        ValueError, match="no feature network 'mobilenet'; did you mean 'mobilenet-v2'.*model.safetensors"
    ):
        load_extractor("mobilenet")
    with pytest.raises(ValueError, match="has no config.json"):
        load_extractor(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="type 'bert': image features are known of dinov2"):
        load_extractor(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ValueError, match=r"no model\.safetensors: put the weights there"):
        load_extractor(str(tmp_path))
