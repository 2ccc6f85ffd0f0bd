"""Attention against explicit loops, its backends against each other."""

import math
from typing import Literal

import pytest
import torch

from openflextok.nets.attention import Attention, attend, attention_backend, layer_norm, sdpa

unfused = pytest.mark.filterwarnings("ignore:.*flex_attention called without torch.compile.*")


@pytest.fixture
def attention(randomise) -> Attention:
    return randomise(Attention(32, 8), std=0.3)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(1))


def norm_by_hand(v: list[float]) -> list[float]:
    mean = sum(v) / len(v)
    variance = sum((a - mean) ** 2 for a in v) / len(v)
    return [(a - mean) / math.sqrt(variance + 1e-5) for a in v]


def brute_force(attention: Attention, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """One query at a time, in float64, with Python loops over heads and keys."""
    B, L, D = x.shape
    E = attention.head_dim
    q_weight, k_weight, v_weight = attention.qkv.weight.detach().double().split(D)
    rows = torch.zeros(B, L, D, dtype=torch.double)
    for b in range(B):
        q, k, v = (x[b].double() @ w.T for w in (q_weight, k_weight, v_weight))
        for head in range(D // E):
            part = slice(head * E, (head + 1) * E)
            queries = [norm_by_hand(row) for row in q[:, part].tolist()]
            keys = [norm_by_hand(row) for row in k[:, part].tolist()]
            for i in range(L):
                scores = {
                    j: sum(a * c for a, c in zip(queries[i], keys[j], strict=True)) * 8 / E
                    for j in range(L)
                    if mask is None or bool(mask.expand(B, 1, L, L)[b, 0, i, j])
                }
                total = sum(math.exp(s) for s in scores.values())
                for j, score in scores.items():
                    rows[b, i, part] += math.exp(score) / total * v[j, part]
    return (rows @ attention.out.weight.detach().double().T).float()


def masks() -> dict[str, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(0)
    square = torch.rand(7, 7, generator=generator) < 0.5
    keys = torch.rand(2, 1, 1, 7, generator=generator) < 0.6
    keys[..., 0] = True
    return {"none": None, "one for all": square | torch.eye(7, dtype=torch.bool), "keys per sample": keys}


@pytest.mark.parametrize("name", masks())
def test_sdpa_equals_loops(name, attention, x):
    with torch.no_grad():
        torch.testing.assert_close(
            attention(x, masks()[name]), brute_force(attention, x, masks()[name]), rtol=1e-5, atol=1e-5
        )


@unfused
@pytest.mark.parametrize("name", masks())
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("backend", ["math", "flex"])
def test_other_backends_equal_sdpa(backend, name, batch, attention, x):
    mask = masks()[name]
    mask = mask[:batch] if mask is not None and mask.ndim == 4 else mask
    with torch.no_grad():
        expected = attention(x[:batch], mask)
        with attention_backend(backend):
            found = attention(x[:batch], mask)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert float(expected.abs().max()) > 0.1


@unfused
def test_a_whole_tokenizer_runs_on_flex(tokenizer, images):
    expected = tokenizer.encode(images)
    pixels = tokenizer.decode(expected.truncate(4), steps=2)
    with attention_backend("flex"):
        assert torch.equal(tokenizer.encode(images).ids, expected.ids)
        torch.testing.assert_close(tokenizer.decode(expected.truncate(4), steps=2), pixels, rtol=0, atol=2e-5)


def test_backends_are_chosen_inside_a_context_only(attention, x, monkeypatch):
    from openflextok.nets import attention as module

    used = []
    monkeypatch.setitem(module.BACKENDS, "flex", lambda q, k, v, mask, scale: used.append(scale) or v)
    with pytest.raises(RuntimeError, match="leave"), attention_backend("flex"):
        attention(x)
        raise RuntimeError("leave")
    attention(x)
    assert used == [8 / 8]


def test_unknown_backends_are_refused():
    with (
        pytest.raises(ValueError, match="unknown attention backend 'flash': give one of sdpa, math, flex"),
        attention_backend("flash"),  # pyright: ignore
    ):
        pass


def test_layer_norm_is_computed_in_float32():
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(0)) * 50 + 300
    expected = torch.tensor([norm_by_hand(row) for row in x.bfloat16().double().tolist()])
    found = layer_norm(x.bfloat16())
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected.bfloat16())


@pytest.mark.parametrize("backend", ["sdpa", "math"])
def test_autocast_does_not_round_how_many_a_key_stands_for(backend: Literal["sdpa", "math"]) -> None:
    q = torch.zeros(1, 1, 1, 8, dtype=torch.bfloat16)
    k = torch.zeros(1, 1, 961, 8, dtype=torch.bfloat16)
    v = torch.zeros_like(k)
    v[:, :, -1] = 1
    mask = torch.zeros(1, 1, 1, 961)
    mask[..., -1] = math.log(240)  # in bfloat16 this is the logarithm of 237.2
    with attention_backend(backend), torch.autocast("cpu", torch.bfloat16):
        share = attend(q, k, v, mask, 1.0)
    assert share[0, 0, 0, 0].item() == pytest.approx(240 / 1200, rel=4e-3)


def test_kernels_off_the_cpu_get_an_added_mask_in_the_dtype_of_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.dtype] = []
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda q, k, v, attn_mask, scale: seen.append(attn_mask.dtype),
    )
    q = torch.empty(1, 1, 3, 8, dtype=torch.bfloat16, device="meta")
    sdpa(q, q, q, torch.empty(1, 1, 1, 3, device="meta"), 1.0)
    sdpa(q, q, q, torch.empty(1, 1, 1, 3, dtype=torch.bool, device="meta"), 1.0)
    assert seen == [torch.bfloat16, torch.bool]
