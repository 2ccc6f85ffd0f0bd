"""Checkpoint folders: exact round trips, and one clear line for all that is not one."""

import dataclasses
import json
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from openflextok import catalog, checkpoint
from openflextok.catalog import NotFound
from openflextok.checkpoint import About, CheckpointError
from openflextok.config import FSQConfig, LFQConfig, VQConfig, to_dict
from openflextok.storage import WeightsFile
from openflextok.tokenfile import TokenFile, write_tokens
from openflextok.tokenizer import Tokenizer

ABOUT = About("tiny", licence="Apache-2.0", data="random numbers", training="none")


@pytest.fixture(params=["pixels", "kl"])
def original(request, make_tokenizer) -> Tokenizer:
    return make_tokenizer(request.param)


@pytest.fixture
def folder(make_tokenizer, tmp_path):
    checkpoint.save(make_tokenizer(), tmp_path / "tiny", about=ABOUT)
    return tmp_path / "tiny"


def one_line(error) -> str:
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    return str(error.value)


def test_round_trip_is_exact_and_stable(original, tmp_path, images):
    checkpoint.save(original, tmp_path / "a", about=ABOUT)
    loaded = checkpoint.load(tmp_path / "a")
    assert loaded.config == original.config
    expected = original.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert not loaded.training and not any(p.requires_grad or p.is_meta for p in loaded.parameters())
    assert not any(b.is_meta for b in loaded.buffers())
    tokens = original.encode(images)
    assert torch.equal(loaded.encode(images).ids, tokens.ids) and len(tokens.ids.unique()) > 5
    assert torch.equal(loaded.decode(tokens.ids, steps=2), original.decode(tokens.ids, steps=2))
    assert loaded.fingerprint() == original.fingerprint()
    checkpoint.save(loaded, tmp_path / "b", about=ABOUT)
    for name in ("config.json", "model.safetensors", "README.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_folder_holds_three_files_and_data_only(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert checkpoint.read_config(folder)[1] == ABOUT
    assert "Apache-2.0" in (folder / "README.md").read_text()


def test_half_precision_storage(original, tmp_path, images):
    checkpoint.save(original, tmp_path / "full")
    checkpoint.save(original, tmp_path / "half", dtype=torch.float16)
    size = {name: (tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half")}
    assert size["half"] < 0.6 * size["full"]
    loaded = checkpoint.load(tmp_path / "half")
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, original.state_dict()[name].half().float())
    assert loaded.encode(images).ids.shape == (5, 8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_loading_in_another_dtype(dtype, original, tmp_path, images):
    checkpoint.save(original, tmp_path / "a")
    loaded = checkpoint.load(tmp_path / "a", dtype=dtype)
    assert {p.dtype for p in loaded.parameters()} == {dtype} and loaded.dtype == dtype
    expected, tokens = original.encode(images), loaded.encode(images)
    assert tokens.values_BND.dtype == torch.float32
    # ids are exact for the values they stand for, though rounding of weights moves some of them
    assert torch.equal(original.quantizer.lookup(tokens.ids), tokens.values_BND)
    assert float((tokens.values_BND - expected.values_BND).abs().mean()) < 0.15
    pixels = loaded.decode(expected.ids, steps=2)
    assert pixels.dtype == torch.float32 and pixels.isfinite().all()
    assert float((pixels - original.decode(expected.ids, steps=2)).abs().mean()) < 0.1


def test_given_weights_are_written_instead(make_tokenizer, tmp_path):
    tokenizer = make_tokenizer()
    weights = {name: tensor + 1 for name, tensor in tokenizer.state_dict().items()}
    checkpoint.save(tokenizer, tmp_path / "a", weights=weights, card="# my card\n")
    assert torch.equal(checkpoint.load(tmp_path / "a").state_dict()["encoder.registers"], weights["encoder.registers"])
    assert (tmp_path / "a" / "README.md").read_text() == "# my card\n"


def test_save_never_replaces_other_peoples_folders(make_tokenizer, tmp_path, folder):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("precious")
    with pytest.raises(CheckpointError, match="photos holds other files and would be replaced"):
        checkpoint.save(make_tokenizer(), tmp_path / "photos")
    assert (tmp_path / "photos" / "cat.jpg").read_text() == "precious"
    checkpoint.save(make_tokenizer(), folder, about=About("again"))
    assert checkpoint.read_config(folder)[1].name == "again"
    (tmp_path / "empty").mkdir()
    checkpoint.save(make_tokenizer(), tmp_path / "empty")


# -- what is not a checkpoint -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 4, 100, 0.5, -1])
def test_half_written_weights(keep, folder):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(
        CheckpointError, match=r"model.safetensors is damaged or cut off .*: copy or download it again"
    ) as error:
        checkpoint.load(folder)
    one_line(error)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda w: w.pop("encoder.registers"), "1 weights are missing: encoder.registers"),
        (lambda w: w.update(extra=torch.zeros(1)), "1 weights are unknown: extra"),
        (
            lambda w: w.update({"encoder.registers": torch.zeros(8, 31)}),
            "1 weights are of another shape: encoder.registers",
        ),
        (lambda w: w.clear(), r"\d+ weights are missing: "),
    ],
)
def test_wrong_weights_are_named(change, message, folder):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=message + ".*wrong or damaged checkpoint") as error:
        checkpoint.load(folder)
    one_line(error)


PICKLE = b"cbuiltins\nexec\n(Vraise SystemExit('a pickle was read')\ntR."


@pytest.mark.parametrize("name", ["model.bin", "model.pt", "model.pth", "model.ckpt", "model.pkl"])
def test_pickles_are_never_read(name, folder):
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(PICKLE)
    with pytest.raises(
        CheckpointError, match=f"pickles such as {name} are never read: convert to safetensors"
    ) as error:
        checkpoint.load(folder)
    one_line(error)
    with pytest.raises(CheckpointError, match="is a pickle, which could run code and is never read"):
        WeightsFile(folder / name)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=f"it has no config.json .*{name}"):
        checkpoint.load(folder)


def test_a_pickle_under_a_false_name_is_damaged(folder):
    (folder / "model.safetensors").write_bytes(PICKLE)
    with pytest.raises(CheckpointError, match="damaged or cut off"):
        checkpoint.load(folder)


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "is not JSON"),
        ('{"format": "openfle', "is not JSON .*copy the checkpoint again"),
        ("[]", "holds a list, not an object"),
        ("null", "holds a NoneType, not an object"),
        ("{}", "not a tokenizer of this library: format None, expected 'openflextok-1'"),
        ('{"_class_name": "AutoencoderKL"}', "format 'AutoencoderKL', expected 'openflextok-1'"),
        ('{"format": "openflextok-9"}', "format 'openflextok-9', expected"),
        ('{"format": "openflextok-1"}', "tokenizer: None is not an object describing a Tokenizer"),
        (b"\xff\xfe\x00", "is not JSON"),
    ],
)
def test_bad_configs(content, message, folder):
    (folder / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CheckpointError, match=message) as error:
        checkpoint.load(folder)
    one_line(error)


def test_config_errors_name_file_entry_and_nearest(folder):
    data = json.loads((folder / "config.json").read_text())
    data["tokenizer"]["quantizer"]["type"] = "Fsq"
    (folder / "config.json").write_text(json.dumps(data))
    with pytest.raises(
        CheckpointError, match=r"config.json: tokenizer.quantizer: unknown type 'Fsq'; known: BSQ, Continuous, FSQ"
    ) as error:
        checkpoint.load(folder)
    one_line(error)


def test_a_file_instead_of_a_folder(folder):
    with pytest.raises(NotFound, match="config.json is a file, not a checkpoint folder: give the folder") as error:
        checkpoint.load(folder / "config.json")
    one_line(error)


def test_other_things_of_ours_are_named(tmp_path, make_tokenizer):
    checkpoint.save(make_tokenizer(), tmp_path / "run" / "model")
    with pytest.raises(CheckpointError, match="it is the folder of a training: give .*run/model") as error:
        checkpoint.load(tmp_path / "run")
    one_line(error)
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "job.json").write_text("{}")
    with pytest.raises(CheckpointError, match="it is a set of tokens, whose job.json names the tokenizer") as error:
        checkpoint.load(tmp_path / "tokens")
    one_line(error)
    file = tmp_path / "tokens.safetensors"
    write_tokens(file, TokenFile(torch.zeros(1, 8, dtype=torch.int64), ("a",), "0" * 16, "x"), 64)
    with pytest.raises(CheckpointError, match="is a file of tokens, not a checkpoint: `openflextok decode` reads") as e:
        checkpoint.load(file)
    one_line(e)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"dtype": "float16"}, "dtype 'float16' is not one of weights: give torch.float32"),
        ({"dtype": torch.int64}, "dtype torch.int64 is not one of weights"),
        ({"device": "cuda:77"}, "device 'cuda:77' cannot be used here"),
        ({"device": "gpu"}, "device 'gpu' cannot be used here"),
    ],
)
def test_impossible_places(place, message, folder):
    for load in (checkpoint.load, checkpoint.load_generator):
        with pytest.raises(ValueError, match=message) as error:
            load(folder, **place)
        one_line(error)


@pytest.mark.parametrize("quantizer", [FSQConfig((8, 5)), LFQConfig(4), VQConfig(16, 8)])
def test_everything_comes_to_the_device(quantizer, make_config, tmp_path):
    """Tables that no file holds, too: the meta device stands for a GPU."""
    config = make_config()
    encoder = dataclasses.replace(config.encoder, slot_dim=quantizer.dim)
    decoder = dataclasses.replace(config.decoder, token_dim=quantizer.dim)
    made = Tokenizer(dataclasses.replace(config, quantizer=quantizer, encoder=encoder, decoder=decoder))
    checkpoint.save(made, tmp_path / "made")
    for dtype in (torch.float32, torch.bfloat16):
        loaded = checkpoint.load(tmp_path / "made", device="meta", dtype=dtype)
        assert {tensor.device.type for tensor in (*loaded.parameters(), *loaded.buffers())} == {"meta"}


def test_an_empty_folder(tmp_path):
    with pytest.raises(CheckpointError, match="is not a tokenizer checkpoint: it has no config.json"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize(
    "name", ["no-such-name", "/no/such/folder", "./nothing", "a/b/c", "../x", "owner/", "~/nothing-here"]
)
def test_names_that_cannot_be_hub_ids_are_refused_at_once(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match="no checkpoint .*: not a folder, not a built-in name") as error:
        checkpoint.load(name)
    one_line(error)


def test_an_unknown_hub_id_offline_is_one_line_and_quick(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    start = time.monotonic()
    with pytest.raises(NotFound, match="no folder 'nobody/nothing' here, and the Hub could not be reached") as error:
        checkpoint.load("nobody/nothing")
    assert time.monotonic() - start < 5
    one_line(error)


def test_a_folder_wins_over_a_hub_id(monkeypatch, tmp_path, make_tokenizer):
    monkeypatch.chdir(tmp_path)
    checkpoint.save(make_tokenizer(), "owner/name")
    assert checkpoint.load("owner/name").num_tokens == 8


def test_a_built_in_name_wins(monkeypatch, tmp_path, make_tokenizer):
    monkeypatch.setattr(catalog, "BUILT_IN", tmp_path)
    checkpoint.save(make_tokenizer(), tmp_path / "flextok-mini", about=ABOUT)
    (tmp_path / "rubbish").mkdir()
    assert catalog.built_in_names() == ["flextok-mini"]
    assert catalog.find(None) == catalog.find("flextok-mini") == tmp_path / "flextok-mini"
    assert checkpoint.load().num_tokens == 8


def test_the_config_on_disk_is_the_tokenizers(folder, make_config):
    data = json.loads((folder / "config.json").read_text())
    assert data == {"format": "openflextok-1", "about": to_dict(ABOUT), "tokenizer": to_dict(make_config())}


def test_an_empty_name_is_not_the_current_folder():
    with pytest.raises(NotFound, match="the name of a checkpoint is empty"):
        checkpoint.load("")
