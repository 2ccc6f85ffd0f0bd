"""Optimisation: width scaling, schedule, averages, against closed forms."""

import math

import pytest
import torch
from torch import nn

from openflextok.recipes.flextok import flextok
from openflextok.tokenizer import build_part
from openflextok.train.optim import EMA, adamw, parameter_groups, rate_at, set_rate
from openflextok.train.settings import OptimConfig

OPTIM = OptimConfig(learning_rate=1.0, base_width=256, warmup_steps=10, final_ratio=0.1)


def peaks(width_depth: int) -> dict[str, float]:
    decoder = build_part(flextok(2, width_depth).decoder)
    rates = {id(p): float(g["peak"]) for g in parameter_groups(decoder, OPTIM) for p in g["params"]}
    return {name: rates[id(p)] for name, p in decoder.named_parameters() if p.requires_grad}


def test_hidden_matrices_get_less_in_wider_parts() -> None:
    narrow, wide = peaks(4), peaks(8)
    for name in ("blocks.0.attention.qkv.weight", "blocks.0.mlp.gate_up.weight", "blocks.0.mlp.down.weight", "head.weight",
                 "blocks.0.modulation.weight", "time.output.weight", "head_modulation.weight"):  # fmt: skip
        assert narrow[name] == pytest.approx(1.0) and wide[name] == pytest.approx(0.5), name
    for name in (
        "patches.projection.weight",
        "tokens.weight",
        "time.input.weight",
        "head.bias",
        "mask_token",
        "token_positions",
    ):
        assert narrow[name] == wide[name] == 1.0, name


def test_every_trainable_parameter_is_in_one_group() -> None:
    decoder = build_part(flextok(2, 2).decoder)
    grouped = [id(p) for g in parameter_groups(decoder, OPTIM) for p in g["params"]]
    assert sorted(grouped) == sorted(id(p) for p in decoder.parameters() if p.requires_grad)


def test_schedule() -> None:
    shares = [rate_at(step, 110, OPTIM) for step in range(110)]
    assert shares[0] == pytest.approx(0.1) and shares[9] == pytest.approx(1.0) and shares[-1] == pytest.approx(0.1)
    middle = 10 + 99 / 2
    expected = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (59 - 10) / 99))
    assert shares[59] == pytest.approx(expected) and middle > 59
    assert all(a >= b for a, b in zip(shares[9:], shares[10:], strict=False))


def test_set_rate_keeps_the_ratio_of_groups() -> None:
    model = nn.Sequential(nn.Linear(512, 8), nn.Linear(8, 8))
    optimizer = adamw(model, OPTIM)
    set_rate(optimizer, 0.5)
    assert {group["lr"] for group in optimizer.param_groups} == {0.5 * 256 / 512, 0.5, 0.5 * 256 / 8}


def test_average_follows_its_closed_form() -> None:
    model = nn.Linear(1, 1, bias=False)
    ema = EMA(model, decay=0.9)
    expected = model.weight.item()
    for step in range(200):
        with torch.no_grad():
            model.weight.fill_(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        ema.update(step)
    assert ema.weights["weight"].item() == pytest.approx(expected, rel=1e-5)
    with ema.applied():
        assert model.weight.item() == pytest.approx(expected, rel=1e-5)
    assert model.weight.item() == 199


def test_early_averages_are_not_the_initial_weights() -> None:
    ema = EMA(nn.Linear(1, 1), decay=0.9999)
    left = math.prod(ema.decay_at(step) for step in range(100))
    assert left < 1e-9  # what is left of the start after 100 steps; a constant 0.9999 would leave 0.99
