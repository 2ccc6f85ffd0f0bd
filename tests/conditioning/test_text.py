"""Captions as conditions, on a small text encoder with random weights."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from small_generators import WORDS, conditioner, small

import openflextok as oft
from openflextok.checkpoint import load_generator
from openflextok.conditioning.encoder import TextEncoder


def test_features_are_those_of_the_encoder_itself(encoder_folder: Path) -> None:
    from transformers import BertModel

    encoder = TextEncoder(str(encoder_folder), 16, 6)
    ids = encoder.prepare(["a red bus", None], cut=False)
    number = {word: i for i, word in enumerate(WORDS)}
    expected = [number[w] for w in ("[CLS]", "a", "red", "bus", "[SEP]", "[PAD]")]
    assert ids.tolist() == [expected, [2, 3, 0, 0, 0, 0]]
    features, mask = encoder(ids)
    assert mask.tolist() == [[True] * 5 + [False], [True, True] + [False] * 4]
    theirs = BertModel.from_pretrained(encoder_folder).eval()
    with torch.no_grad():
        alone = theirs(ids[:1, :5]).last_hidden_state
    torch.testing.assert_close(features[:1, :5], alone)


@pytest.mark.parametrize("kind", ["text_prefix", "text_cross"])
def test_what_stands_in_empty_places_does_not_count(kind: str, encoder_folder: Path, monkeypatch) -> None:
    made = small(conditioner(kind, encoder_folder))
    prepared = made.conditioner.prepare(["a red bus"])
    ids = torch.randint(60, (1, 8), generator=torch.Generator().manual_seed(0))
    before = made.logits(ids, prepared)
    real = made.conditioner.encoder.__call__

    def noisy(prepared_BT):
        features, mask = real(prepared_BT)
        return features + (~mask)[..., None] * 100, mask

    made.conditioner.encoder = noisy
    assert torch.equal(made.logits(ids, prepared), before)


def test_long_and_empty_captions(encoder_folder: Path) -> None:
    made = small(conditioner("text_prefix", encoder_folder))
    with pytest.raises(ValueError, match="a caption is empty: give words, or None"):
        made.sample(captions=["a bus", " "])
    with pytest.raises(ValueError, match=r"caption 'red red red.*'\.\.\. has 2502 text tokens: this generator reads 6"):
        made.sample(captions=["red " * 2500])
    with pytest.raises(ValueError, match="caption 7 is not text"):
        made.sample(captions=[7])  # pyright: ignore
    cut = made.conditioner.prepare(["red red red red red red red", "", " "], cut=True)
    assert cut[0].tolist() == [2, 5, 5, 5, 5, 3] and torch.equal(cut[1], cut[2])
    assert torch.equal(cut[1:2], made.conditioner.prepare([None]))


def test_the_encoder_stays_out_of_the_checkpoint(encoder_folder: Path, tmp_path: Path) -> None:
    made = small(conditioner("text_cross", encoder_folder))
    made.sample(captions=["a bus"])
    assert not any("encoder" in name for name in made.state_dict())
    oft.save(made, tmp_path / "saved")
    again = load_generator(tmp_path / "saved")
    assert torch.equal(again.sample(captions=["a bus"]), made.sample(captions=["a bus"]))


def test_an_encoder_of_another_width_is_refused(encoder_folder: Path) -> None:
    with pytest.raises(ValueError, match="is 16 wide, not 17"):
        TextEncoder(str(encoder_folder), 17, 6)(torch.tensor([[2, 3, 0, 0, 0, 0]]))


def test_a_pickled_encoder_is_not_read(encoder_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(encoder_folder, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        TextEncoder(str(folder), 16, 6)(torch.tensor([[2, 3, 0, 0, 0, 0]]))


def test_a_t5_gives_its_encoders_features(tmp_path: Path, encoder_folder: Path) -> None:
    """T5 holds a decoder too: only the encoder is loaded."""
    from transformers import T5Config, T5EncoderModel, T5ForConditionalGeneration

    folder = tmp_path / "t5"
    shutil.copytree(encoder_folder, folder)
    torch.manual_seed(0)
    shape = T5Config(
        vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    T5ForConditionalGeneration(shape).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "t5"
    encoder = TextEncoder(str(folder), 16, 6)
    ids = encoder.prepare(["a red bus"], cut=False)
    expected = T5EncoderModel.from_pretrained(folder).eval()(ids[:, :5]).last_hidden_state
    torch.testing.assert_close(encoder(ids)[0][:, :5], expected)
