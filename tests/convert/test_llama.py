"""A converted generator in transformers' own hands: equal logits, equal greedy ids, with its static cache and without."""

import json
import sys
from pathlib import Path

import pytest
import torch

import openflextok as oft
from openflextok.checkpoint import load_generator
from openflextok.config import LabelPrefixConfig, LabelSumConfig, TextPrefixConfig
from openflextok.convert.formats import convert

sys.path.insert(0, str(Path(__file__).parents[1] / "generators"))
from small_generators import CLASSES, small


@pytest.fixture(params=[(LabelPrefixConfig, ()), (LabelPrefixConfig, (12, 5)), (LabelSumConfig, ())])
def pair(request: pytest.FixtureRequest, tmp_path: Path):
    """Our generator, transformers' model of the same weights, and what the rows are."""
    from transformers import LlamaForCausalLM

    kind, digits = request.param
    generator = small(kind(CLASSES), digits)
    oft.save(generator, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "theirs", "transformers")
    theirs, problems = LlamaForCausalLM.from_pretrained(tmp_path / "theirs", output_loading_info=True)
    assert not any(problems.values()), problems
    rows = json.loads((tmp_path / "theirs" / "openflextok.json").read_text())
    assert rows["classes"] == {name: generator.vocabulary.codes + i for i, name in enumerate(CLASSES)}
    return generator, theirs.eval(), rows


@torch.inference_mode()
def test_logits_are_equal(pair) -> None:
    generator, theirs, rows = pair
    ids = torch.randint(60, (4, 8), generator=torch.Generator().manual_seed(0))
    steps = generator.vocabulary.split(ids)
    first = torch.tensor(
        [[rows["classes"]["apple"]], [rows["classes"]["cherry"]], [rows["no_class"]], [rows["no_class"]]]
    )
    found = theirs(torch.cat([first, steps[:, :-1]], dim=1)).logits
    expected = generator.logits(steps, generator.conditioner.prepare(["apple", "cherry", None, None]))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert expected.std() > 0.1


@torch.inference_mode()
@pytest.mark.parametrize("cache", ["static", "dynamic"])
def test_greedy_ids_are_equal(pair, cache: str) -> None:
    generator, theirs, rows = pair
    steps = 8 * len(rows["digits"])
    allowed = [list(range(*generator.vocabulary.span(step).indices(10**6))) for step in range(steps)]
    made = theirs.generate(
        torch.tensor([[rows["classes"]["banana"]]]),
        attention_mask=torch.ones(1, 1, dtype=torch.int64),
        max_new_tokens=steps,
        do_sample=False,
        cache_implementation=cache,
        disable_compile=True,
        prefix_allowed_tokens_fn=lambda batch, seen: allowed[len(seen) - 1],
    )
    ours = generator.sample(["banana"], guidance=1.0, temperature=0.0)
    assert torch.equal(generator.vocabulary.join(made[:, 1:]), ours)


def test_generators_in_our_own_format_keep_their_weights(tmp_path: Path) -> None:
    generator = small()
    oft.save(generator, tmp_path / "a")
    convert(tmp_path / "a", tmp_path / "b")
    again = load_generator(tmp_path / "b")
    assert again.config == generator.config
    assert all(
        torch.equal(a, b) for a, b in zip(generator.state_dict().values(), again.state_dict().values(), strict=True)
    )
    convert(tmp_path / "a", tmp_path / "half", dtype=torch.float16)
    halved = load_generator(tmp_path / "half").state_dict()
    assert all(torch.equal(halved[n], t.half().float()) for n, t in generator.state_dict().items())


def test_what_cannot_be_converted(tmp_path: Path, encoder_folder: Path) -> None:
    oft.save(small(TextPrefixConfig(str(encoder_folder), 16, 6)), tmp_path / "captions")
    with pytest.raises(ValueError, match="reads captions"):
        convert(tmp_path / "captions", tmp_path / "out", "transformers")
    with pytest.raises(ValueError, match="is a generator: official FlexTok weights are tokenizers"):
        convert(tmp_path / "captions", tmp_path / "out", "official")
    with pytest.raises(ValueError, match="is a tokenizer: only generators"):
        convert("flextok-mini", tmp_path / "out", "transformers")
    with pytest.raises(ValueError, match="is a generator, not a tokenizer: load it with oft.load_generator"):
        oft.load(tmp_path / "captions")
    with pytest.raises(ValueError, match="is a tokenizer, not a generator: load it with oft.load"):
        load_generator("flextok-mini")
    assert not (tmp_path / "out").exists()
