"""Equal to the released code: every tensor of the reference cases, with both attention backends, and after conversion."""

import pytest
import torch
from parity import GUIDANCE, Case, decoding_errors, encoding_errors, space_errors, velocity_errors

import openflextok as oft
from openflextok.convert.formats import convert

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


@pytest.fixture(params=["sdpa", "math", "flex"])
def backend(request):
    with oft.attention_backend(request.param):
        yield request.param


def assert_below(errors: dict[str, float], limit: float) -> None:
    assert errors
    assert not {name: error for name, error in errors.items() if not error <= limit}


def test_encoding(case: Case, backend: str) -> None:
    tokenizer = case.load()
    errors = space_errors(tokenizer, case) | encoding_errors(tokenizer, case)
    expected = {name for name in case.expected if name.startswith(("vae.", "enc."))}
    other = {
        "vae.posterior_noise",
        "enc.tokens_mode",
        "enc.tokens_sample",
        "enc.fsq_margin_mode",
        "enc.fsq_margin_sample",
    }
    assert errors.keys() == expected - other
    assert_below(errors, 2e-5)
    assert torch.equal(tokenizer.encode(case.images).ids, case.expected["enc.tokens_mode"])
    sampled = tokenizer.encode(case.images, posterior=case.expected["vae.posterior_noise"])
    assert torch.equal(sampled.ids, case.expected["enc.tokens_sample"])
    assert torch.equal(tokenizer.encode(case.images[1:2]).ids, case.expected["enc.tokens_mode"][1:2])


def test_velocities(case: Case, backend: str) -> None:
    errors = velocity_errors(case.load(), case)
    inputs = {"dec.timesteps", "dec.noised", "dec.keep_k_mixed"}
    assert errors.keys() == {name for name in case.expected if name.startswith("dec.")} - inputs
    assert_below(errors, 2e-5)


def test_decoding(case: Case, backend: str) -> None:
    errors = decoding_errors(case.load(), case)
    assert errors.keys() == {name for name in case.expected if name.startswith("detok.images")}
    assert_below(errors, 1e-4)


def test_bf16(case: Case, backend: str) -> None:
    """Under autocast and with bf16 weights: most ids are the same, and the quantizer still works in float32."""
    expected = case.expected["enc.tokens_mode"]
    quantised = []
    for tokenizer, autocast in ((case.load(), True), (case.load(dtype=torch.bfloat16), False)):
        handle = tokenizer.quantizer.register_forward_hook(lambda m, i, o: quantised.append(o.values_BND.dtype))
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            ids = tokenizer.encode(case.images).ids
        handle.remove()
        codes, wanted = tokenizer.quantizer.lookup(ids), tokenizer.quantizer.lookup(expected)
        assert (codes == wanted).float().mean() > 0.9, "a dimension in ten may fall to the neighbouring level"
        assert (codes - wanted).abs().max() <= 0.51, "and to no other"
    assert quantised == [torch.float32] * 2


def test_bf16_velocities(case: Case, backend: str) -> None:
    tokenizer = case.load()
    with torch.autocast("cpu", torch.bfloat16):
        errors = velocity_errors(tokenizer, case)
    assert_below({name: error for name, error in errors.items() if "velocity" in name}, 0.06)


@pytest.mark.parametrize("autocast", [True, False], ids=["autocast", "weights"])
def test_bf16_decoding(case: Case, autocast: bool) -> None:
    """From the reference's ids, the root mean square of the difference."""
    tokenizer = case.load(dtype=torch.float32 if autocast else torch.bfloat16)
    ids, noise = case.expected["enc.tokens_mode"], case.expected["detok.noise"]
    for name, guidance in GUIDANCE.items():
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found = tokenizer.decode(ids[:, :8], steps=5, guidance=guidance, noise=noise).float()
        expected = case.expected[f"detok.images_k8_{name}"].clamp(-1, 1)
        error = ((found - expected).square().mean() / expected.square().mean()).sqrt()
        assert error < 0.04, name


@pytest.mark.parametrize("single_file", [False, True])
def test_there_and_back(case: Case, single_file: bool, tmp_path) -> None:
    """Official -> ours -> official: the same bytes for every tensor, the same config; ours in between computes the same."""
    from safetensors.torch import load_file

    source = case.folder / "model.safetensors" if single_file else case.folder
    back = tmp_path / "back.safetensors" if single_file else tmp_path / "back"
    convert(source, tmp_path / "ours")
    convert(tmp_path / "ours", back, to="official")
    original, again = (
        load_file(case.folder / "model.safetensors"),
        load_file(back if single_file else back / "model.safetensors"),
    )
    assert original.keys() == again.keys()
    assert all(torch.equal(original[name], again[name]) for name in original)
    assert all(original[name].dtype == again[name].dtype for name in original)
    tokenizers = [oft.load(path) for path in (case.folder, tmp_path / "ours", back)]
    assert len({tokenizer.fingerprint() for tokenizer in tokenizers}) == 1
    for tokenizer in tokenizers:
        assert torch.equal(tokenizer.encode(case.images).ids, case.expected["enc.tokens_mode"])
