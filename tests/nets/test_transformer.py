"""Blocks and time embedding against references written token by token."""

import math

import pytest
import torch
from torch import Tensor

from openflextok.nets.attention import Attention
from openflextok.nets.transformer import Block, SwiGLU, TimeEmbedding, TwoStreamBlock, init_linear

WIDTH, PATCHES, REGISTERS = 24, 4, 3
ORDER = ("gate_attention", "gate_mlp", "shift_attention", "scale_attention", "shift_mlp", "scale_mlp")
DIT_ORDER = ("shift_attention", "scale_attention", "gate_attention", "shift_mlp", "scale_mlp", "gate_mlp")


def norm(v: Tensor) -> Tensor:
    return (v - v.mean()) / torch.sqrt(((v - v.mean()) ** 2).mean() + 1e-5)


def swiglu(mlp: SwiGLU, v: Tensor) -> Tensor:
    hidden = mlp.down.weight.shape[1]
    gate, up = mlp.gate_up.weight[:hidden] @ v, mlp.gate_up.weight[hidden:] @ v
    return mlp.down.weight @ (gate / (1 + torch.exp(-gate)) * up)


def attend(attention: Attention, tokens: list[Tensor]) -> list[Tensor]:
    E, D = attention.head_dim, WIDTH
    q_weight, k_weight, v_weight = attention.qkv.weight.split(D)
    results = []
    for token in tokens:
        heads = []
        for start in range(0, D, E):
            part = slice(start, start + E)
            query = norm((q_weight @ token)[part])
            scores = torch.stack([query @ norm((k_weight @ other)[part]) * 8 / E for other in tokens])
            weights = torch.exp(scores) / torch.exp(scores).sum()
            heads.append(sum(w * (v_weight @ other)[part] for w, other in zip(weights, tokens, strict=True)))
        results.append(attention.out.weight @ torch.cat(heads))  # pyright: ignore
    return results


def reference(block: TwoStreamBlock, x: Tensor, temb: Tensor, order=ORDER, streams=("patches", "registers")) -> Tensor:
    """One sample, token by token, in float64; `order` and `streams` say what the modulation's rows mean."""
    numbers = (block.modulation.weight @ (temb / (1 + torch.exp(-temb))) + block.modulation.bias).split(WIDTH)
    named = {stream: dict(zip(order, numbers[6 * i : 6 * i + 6], strict=True)) for i, stream in enumerate(streams)}
    per_token = [named["patches"]] * PATCHES + [named["registers"]] * REGISTERS
    tokens = list(x)
    inputs = [
        norm(v) * (1 + m["scale_attention"]) + m["shift_attention"] for v, m in zip(tokens, per_token, strict=True)
    ]
    mixed = attend(block.attention, inputs)
    tokens = [v + m["gate_attention"] * a for v, m, a in zip(tokens, per_token, mixed, strict=True)]
    inputs = [norm(v) * (1 + m["scale_mlp"]) + m["shift_mlp"] for v, m in zip(tokens, per_token, strict=True)]
    return torch.stack(
        [v + m["gate_mlp"] * swiglu(block.mlp, i) for v, m, i in zip(tokens, per_token, inputs, strict=True)]
    )


@pytest.fixture
def case(randomise) -> tuple[TwoStreamBlock, Tensor, Tensor, Tensor]:
    """A block, inputs (2, L, D), time embeddings (2, D), and what the block makes of them; float64."""
    block = randomise(TwoStreamBlock(WIDTH, 8)).double()
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(2, PATCHES + REGISTERS, WIDTH, generator=generator, dtype=torch.double)
    temb = torch.randn(2, WIDTH, generator=generator, dtype=torch.double)
    with torch.no_grad():
        return block, x, temb, block([x], PATCHES, block.modulate(torch.nn.functional.silu(temb)), [None])[0]


def test_two_stream_block_equals_the_reference(case):
    block, x, temb, found = case
    with torch.no_grad():
        for b in range(2):
            # norms are float32 by design, hence the tolerance
            torch.testing.assert_close(found[b], reference(block, x[b], temb[b]), rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "mutation",
    [
        {"streams": ("registers", "patches")},
        {"order": DIT_ORDER},
        {"order": ("gate_mlp", "gate_attention", *ORDER[2:])},
        {"order": (*ORDER[:2], "scale_attention", "shift_attention", *ORDER[4:])},
        {"order": (*ORDER[:4], "scale_mlp", "shift_mlp")},
        {"order": (*ORDER[:2], *ORDER[4:], *ORDER[2:4])},
    ],
    ids=[
        "streams swapped",
        "DiT's order",
        "gates swapped",
        "attention's shift and scale",
        "mlp's",
        "attention and mlp",
    ],
)
def test_the_reference_notices_every_wrong_order(mutation, case):
    block, x, temb, found = case
    with torch.no_grad():
        assert float((found[0] - reference(block, x[0], temb[0], **mutation)).abs().max()) > 0.1


def test_block_equals_the_reference(randomise):
    block = randomise(Block(WIDTH, 8)).double()
    x = torch.randn(1, 5, WIDTH, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    with torch.no_grad():
        tokens = [v + a for v, a in zip(x[0], attend(block.attention, [norm(v) for v in x[0]]), strict=True)]
        expected = torch.stack([v + swiglu(block.mlp, norm(v)) for v in tokens])
        torch.testing.assert_close(block(x)[0], expected, rtol=0, atol=2e-5)


def test_a_fresh_block_with_zero_modulation_is_the_identity():
    block = TwoStreamBlock(WIDTH, 8)
    torch.nn.init.zeros_(block.modulation.weight)
    torch.nn.init.zeros_(block.modulation.bias)
    x = torch.randn(2, 7, WIDTH)
    assert torch.equal(block([x], 4, block.modulate(torch.randn(2, WIDTH)), [None])[0], x)


@pytest.mark.parametrize("width, hidden", [(768, 2048), (64, 170), (1152, 3072), (24, 64)])
def test_hidden_width(width, hidden):
    assert SwiGLU(width).down.in_features == hidden


@pytest.mark.parametrize("most", [1, 1000])
def test_reference_sinusoids(most, units):
    expected = units("embeddings")
    found = TimeEmbedding(32, float(most)).sinusoids(expected["t"])
    torch.testing.assert_close(found, expected[f"time_freq_max{most}"], rtol=0, atol=1e-4)


def test_sinusoids_by_hand():
    """Angles t * 1000 * 256^(-i / 128), cosines first."""
    found = TimeEmbedding(32, 1.0).sinusoids(torch.tensor([0.37]))[0]
    for i in (0, 1, 64, 127):
        angle = 0.37 * 1000 * 256 ** (-i / 128)
        assert found[i].item() == pytest.approx(math.cos(angle), abs=1e-4)
        assert found[128 + i].item() == pytest.approx(math.sin(angle), abs=1e-4)


def test_sinusoids_stay_float32_for_bfloat16_weights():
    t = torch.tensor([0.37, 0.371])
    embedding = TimeEmbedding(32, 1.0)
    assert torch.equal(embedding.bfloat16().sinusoids(t), TimeEmbedding(32, 1.0).sinusoids(t))


def test_initial_scale_keeps_variance():
    torch.manual_seed(0)
    block = Block(256, 64)
    init_linear(block, depth=8)
    assert float(block.mlp.gate_up.weight.detach().std()) * 256**0.5 == pytest.approx(1, rel=0.02)
    assert float(block.attention.out.weight.detach().std()) * 256**0.5 == pytest.approx(
        1 / 4, rel=0.02
    )  # 1 / sqrt(2 * 8)
