"""The flow decoder: what reaches the output, what it costs, and that all its shortcuts change nothing."""

import dataclasses
import shutil

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from openflextok.config import LogitNormalConfig
from openflextok.flow.guidance import APG, CFG
from openflextok.flow.path import sample_path
from openflextok.flow.sampler import Euler, Heun, time_grid
from openflextok.nets.absence import FORMS, SHARES, MaskToken, Shown
from openflextok.nets.attention import attention_backend
from openflextok.nets.flow_decoder import FlowDecoder
from openflextok.types import Draws, Tokens, check_lengths

N, STEPS = 8, 3


@pytest.fixture
def make(make_config, randomise):
    """A tiny decoder with random weights; keywords as FlowDecoderConfig."""
    return lambda **options: randomise(FlowDecoder(make_config(**options).decoder))


@pytest.fixture
def latents() -> Tensor:
    return torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(11))


def random_tokens(lengths, seed: int = 0, width: int = N) -> Tokens:
    values = torch.randn(len(lengths), width, 6, generator=torch.Generator().manual_seed(seed))
    keep = torch.arange(width)[None] < check_lengths(lengths, len(lengths), width)[:, None]
    return Tokens(values, None, keep)


def rows(tokens: Tokens, *index: int) -> Tokens:
    return Tokens(tokens.values_BND[list(index)], None, tokens.keep_BN[list(index)])


both_forms = pytest.mark.parametrize("absence", ["mask", "remove"])
LENGTHS = [1, 8, 3, 5]


@both_forms
@pytest.mark.parametrize("guidance", [None, "cfg:3", "apg:7.5"])
def test_dropped_tokens_cannot_reach_the_output(absence, guidance, make, latents):
    decoder, tokens = make(absence=absence), random_tokens(LENGTHS)
    dropped = ~tokens.keep_BN[..., None]
    other = dataclasses.replace(tokens, values_BND=torch.where(dropped, 100.0, tokens.values_BND))
    kept = dataclasses.replace(tokens, values_BND=torch.where(dropped, tokens.values_BND, tokens.values_BND + 0.5))
    with torch.no_grad():
        first, second, third = (
            decoder.decode(t, noise_BCHW=latents, steps=STEPS, guidance=guidance) for t in (tokens, other, kept)
        )
    assert torch.equal(first, second)
    assert float((first - third).abs().amax(dim=(1, 2, 3)).min()) > 1e-3


@both_forms
def test_dropped_tokens_get_exactly_zero_gradient_in_training(absence, make, latents):
    decoder, tokens = make(absence=absence, null_probability=0.0), random_tokens(LENGTHS)
    values = tokens.values_BND.clone().requires_grad_()
    losses = decoder.losses(dataclasses.replace(tokens, values_BND=values), latents, Draws(range(4)))
    losses.total.backward()
    assert values.grad is not None
    size = values.grad.abs().amax(-1)
    assert bool((size[~tokens.keep_BN] == 0).all()) and bool((size[tokens.keep_BN] > 0).all())
    other = torch.where(tokens.keep_BN[..., None], tokens.values_BND, -7.0)
    again = decoder.losses(dataclasses.replace(tokens, values_BND=other), latents, Draws(range(4)))
    assert torch.equal(again.total, losses.total)


@both_forms
def test_a_ragged_training_batch_equals_its_samples_alone(absence, make, latents):
    """Mean of the losses of single samples; with `remove` the batch is padded and masked, a single sample is not."""
    decoder, tokens = make(absence=absence, null_probability=0.5), random_tokens(LENGTHS)
    seeds = [3, 4, 5, 6]
    together = decoder.losses(tokens, latents, Draws(seeds)).total
    alone = [decoder.losses(rows(tokens, i), latents[i : i + 1], Draws([seeds[i]])).total for i in range(4)]
    torch.testing.assert_close(together, torch.stack(alone).mean(), rtol=1e-5, atol=1e-6)
    together.backward()
    gradient = {name: p.grad.clone() for name, p in decoder.named_parameters() if p.grad is not None}
    decoder.zero_grad()
    for i in range(4):
        (decoder.losses(rows(tokens, i), latents[i : i + 1], Draws([seeds[i]])).total / 4).backward()
    for name, expected in gradient.items():
        torch.testing.assert_close(decoder.get_parameter(name).grad, expected, rtol=1e-3, atol=1e-5)


def as_defined(absence: str, registers: Tensor, keep: Tensor, mask_token: Tensor) -> list[Tensor]:
    """The registers of each row, nothing shared and nothing padded."""
    if absence == "remove":
        return [row[kept] for row, kept in zip(registers, keep, strict=True)]
    return list(MaskToken().fill(registers, keep, mask_token, N))


def check_shown(shown: Shown, expected: list[Tensor], lengths: list[int], mask_token: Tensor) -> None:
    counts = torch.ones(shown.registers_BND.shape[:2]) if shown.counts_BN is None else shown.counts_BN
    for row, found, count in zip(shown.rows.tolist(), shown.registers_BND, counts, strict=True):
        length = lengths[row]
        assert float(count.sum()) == pytest.approx(len(expected[row]))
        assert torch.equal(count[:length], torch.ones(length))
        assert torch.equal(found[:length], expected[row][:length])
        standing = found[length:][count[length:] > 0]
        assert all(torch.equal(register, mask_token) for register in [*standing, *expected[row][length:]])


@both_forms
@pytest.mark.parametrize(
    "lengths", [LENGTHS, [1, 1, 1, 1], [2, 5, 3, 1], [N - 1, 1, 2, 3], [8, 8, 1, 1, 1, 4, 2, 2, 2, 8]]
)
def test_groups_and_shares_show_the_registers_of_the_definition(absence, lengths):
    generator, B = torch.Generator().manual_seed(0), len(lengths)
    registers, mask_token = torch.randn(B, N, 5, generator=generator), torch.randn(5, generator=generator)
    keep = random_tokens(lengths).keep_BN
    form, expected = FORMS[absence], as_defined(absence, registers, keep, mask_token)
    groups = list(form.groups(registers, keep, mask_token, N))
    shares = list(form.shares(registers, keep, mask_token, N))
    for parts in (groups, shares):
        assert sorted(torch.cat([part.rows for part in parts]).tolist()) == list(range(B))
        for part in parts:
            check_shown(part, expected, lengths, mask_token)
    for group in groups:
        assert group.null_count == (N if absence == "mask" else group.registers_BND.shape[1])
        assert absence == "mask" or group.counts_BN is None  # nothing padded
    assert len(shares) <= SHARES
    for share in shares:  # no longer than the longest of its rows needs
        longest = max(lengths[row] for row in share.rows.tolist())
        assert share.registers_BND.shape[1] == (longest if absence == "remove" else min(N, longest + 1))


@both_forms
def test_training_on_shares_has_the_loss_and_the_gradients_of_the_definition(absence, make, latents):
    """Against one pass over all N registers, every absent one there: as mask token, or hidden by a mask."""
    decoder, tokens = make(absence=absence, null_probability=0.5), random_tokens(LENGTHS)
    values = tokens.values_BND.clone().requires_grad_()
    found = decoder.losses(dataclasses.replace(tokens, values_BND=values), latents, Draws(range(4)))
    found.total.backward()
    gradients = {name: p.grad.clone() for name, p in decoder.named_parameters() if p.grad is not None}
    values_gradient, values.grad = values.grad, None
    decoder.zero_grad()
    draws = Draws(range(4))
    path = sample_path(latents, draws.normal(*latents.shape[1:]), decoder.sample_times(draws))
    null = draws.uniform() < 0.5
    assert 0 < int(null.sum()) < 4
    registers, mask = decoder.embed_tokens(values), None
    if absence == "mask":
        registers = MaskToken().fill(registers, tokens.keep_BN, decoder.mask_token, N)
    else:
        x_tokens = decoder.patches(latents).shape[1]
        mask = torch.cat([torch.ones(4, x_tokens, dtype=torch.bool), tokens.keep_BN], 1)[:, None, None]
    registers = torch.where(null[:, None, None], decoder.null_token, registers)
    velocity, features = decoder.velocity(
        decoder.patches(path.x_t_BCHW), registers, decoder.modulations(path.t_B), decoder.patches.grid(latents), mask
    )
    expected = (velocity - path.velocity_BCHW).square().mean()
    expected.backward()
    torch.testing.assert_close(found.total, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.features_BPD, features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(values_gradient, values.grad, rtol=1e-3, atol=1e-6)
    assert gradients.keys() == {name for name, p in decoder.named_parameters() if p.grad is not None}
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, decoder.get_parameter(name).grad, rtol=1e-3, atol=1e-5)


@both_forms
def test_short_sequences_equal_long_ones_with_dropped_tails(absence, make, latents):
    """ids[:, :3] and all ids with lengths 3 are one thing."""
    decoder, tokens = make(absence=absence), random_tokens([3, 3, 3, 3])
    short = Tokens(tokens.values_BND[:, :3], None, tokens.keep_BN[:, :3])
    with torch.no_grad():
        first, second = (decoder.decode(t, noise_BCHW=latents, steps=2) for t in (tokens, short))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-6)


def test_mask_token_carries_no_position(make, latents):
    """Changing the position of a dropped token changes nothing; of a kept one, it does."""
    decoder, tokens = make(), random_tokens([3, 3, 3, 3])
    with torch.no_grad():
        before = decoder.decode(tokens, noise_BCHW=latents, steps=1)
        decoder.token_positions[3:] += torch.randn(5, 32)
        assert torch.equal(decoder.decode(tokens, noise_BCHW=latents, steps=1), before)
        decoder.token_positions[2] += torch.randn(32)
        assert not torch.equal(decoder.decode(tokens, noise_BCHW=latents, steps=1), before)


def test_few_tokens_cost_less(make, latents):
    """Floating point operations of one step by length: with `mask`, one register stands for all that are absent."""
    cost = {}
    for absence in ("mask", "remove"):
        decoder = make(absence=absence)
        for length in (1, 2, 4, 5, 8):
            with torch.no_grad(), FlopCounterMode(display=False) as counter:
                decoder.decode(random_tokens([length] * 4), noise_BCHW=latents, steps=1, guidance=None)
            cost[absence, length] = counter.get_total_flops()
    assert cost["remove", 1] < cost["remove", 2] < cost["remove", 4] < cost["remove", 5] < cost["remove", 8]
    assert cost["mask", 1] == cost["remove", 2] and cost["mask", 4] == cost["remove", 5]
    assert cost["mask", 8] == cost["remove", 8]
    assert cost["remove", 1] < 0.8 * cost["remove", 8]  # 17 of 24 tokens


def test_the_form_of_absence_is_a_run_time_choice(make, latents):
    masked, removed = make(absence="mask"), make(absence="remove")
    tokens = random_tokens(LENGTHS)
    with torch.no_grad():
        expected = removed.decode(tokens, noise_BCHW=latents, steps=2)
        assert torch.equal(masked.decode(tokens, noise_BCHW=latents, steps=2, absence="remove"), expected)
        assert not torch.allclose(masked.decode(tokens, noise_BCHW=latents, steps=2), expected, atol=1e-3)
    with pytest.raises(ValueError, match="unknown absence 'drop': give one of mask, remove"):
        masked.decode(tokens, noise_BCHW=latents, absence="drop")


def test_unknown_options_are_refused(make, latents):
    with pytest.raises(TypeError, match=r"unknown decode options \['stepz'\]: give steps, guidance, solver, absence"):
        make().decode(random_tokens(LENGTHS), noise_BCHW=latents, stepz=3)


# -- guidance -------------------------------------------------------------------------------------------------------


def test_the_null_condition_does_not_depend_on_tokens(make, latents):
    """At guidance scale 0 only the unconditional velocity is left."""
    decoder = make()
    with torch.no_grad():
        first = decoder.decode(random_tokens(LENGTHS), noise_BCHW=latents, steps=2, guidance=CFG(0.0))
        second = decoder.decode(random_tokens([2, 2, 8, 1], seed=9), noise_BCHW=latents, steps=2, guidance=CFG(0.0))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-5)


@both_forms
def test_scale_one_is_the_conditional_pass(absence, make, latents):
    decoder, tokens = make(absence=absence), random_tokens(LENGTHS)
    with torch.no_grad():
        plain = decoder.decode(tokens, noise_BCHW=latents, steps=STEPS, guidance=None)
        for guidance in (CFG(1.0), APG(1.0)):
            found = decoder.decode(tokens, noise_BCHW=latents, steps=STEPS, guidance=guidance)
            torch.testing.assert_close(found, plain, rtol=0, atol=2e-5)


def two_pass_decode(decoder: FlowDecoder, tokens: Tokens, noise: Tensor, guidance, steps: int) -> Tensor:
    """As slow as can be: modulations at every step, one network call per condition, Euler by hand."""
    combine = guidance.start()
    shown = MaskToken().fill(decoder.embed_tokens(tokens.values_BND), tokens.keep_BN, decoder.mask_token, N)
    null = decoder.null_token.expand_as(shown)
    grid, x = decoder.patches.grid(noise), noise
    for t in time_grid(steps):
        times = t.expand(len(noise))
        velocities = [
            decoder.velocity(decoder.patches(x), registers, decoder.modulations(times), grid)[0]
            for registers in (shown, null)
        ]
        x = x - combine(*velocities) / steps
    return x


@pytest.mark.parametrize("guidance", [CFG(3.0), APG(7.5)])
def test_one_batch_and_precomputed_modulations_equal_two_passes_step_by_step(guidance, make, latents):
    decoder, tokens = make(), random_tokens(LENGTHS)
    with torch.no_grad():
        expected = two_pass_decode(decoder, tokens, latents, guidance, steps=4)
        found = decoder.decode(tokens, noise_BCHW=latents, steps=4, guidance=guidance)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert float((found - latents).abs().max()) > 0.1


@pytest.mark.parametrize("backend", ["sdpa", "math", "flex"])
@pytest.mark.parametrize("lengths", [[1, 1, 1, 1], [2, 5, 3, 1], [N - 1, 1, 2, 3]])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_one_register_stands_exactly_for_all_absent_ones(lengths, backend, make, latents):
    """Few registers with counts give what all N, mask and null tokens included, give."""
    decoder, tokens = make(), random_tokens(lengths)
    with torch.no_grad(), attention_backend(backend):
        for guidance in (CFG(3.0), APG(7.5)):
            expected = two_pass_decode(decoder, tokens, latents, guidance, steps=3)
            found = decoder.decode(tokens, noise_BCHW=latents, steps=3, guidance=guidance)
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    assert float((found - latents).abs().max()) > 0.1


@pytest.mark.parametrize("guidance, rows_per_call", [(None, 4 * (16 + 5)), ("cfg:3", 4 * (16 + 5) + 4 * (16 + 1))])
def test_calls_per_decode(guidance, rows_per_call, make, latents):
    """One network call a step, with the rows of both conditions; all that is independent of t or x only once.

    Of 8 registers, 4 kept ones and one for the absent are shown; of the null ones, one.
    """
    decoder, calls = make(), {}

    def count(name: str):
        return lambda module, inputs, output: calls.setdefault(name, []).append(inputs[0].shape[:-1].numel())

    for name, module in {
        "qkv": decoder.blocks[0].attention.qkv,
        "mlp": decoder.blocks[0].mlp,
        "tokens": decoder.tokens,
        "time": decoder.time.input,
        "modulation": decoder.blocks[0].modulation,
        "head modulation": decoder.head_modulation,
    }.items():
        module.register_forward_hook(count(name))
    with torch.no_grad():
        decoder.decode(random_tokens([4] * 4), noise_BCHW=latents, steps=5, guidance=guidance)
    once = {"tokens": [4 * 8], "time": [5], "modulation": [5], "head modulation": [5]}
    assert calls == once | {"qkv": [rows_per_call] * 5, "mlp": [rows_per_call] * 5}


# -- the flow -------------------------------------------------------------------------------------------------------


class PerfectDecoder(FlowDecoder):
    """Knows the data: predicts eps - x0 exactly, from x_t and t; each row of x_t brings its x0 along as channels."""

    x0: Tensor

    def modulations(self, t_B):
        return [t_B.view(-1, 1, 1, 1)] * len(self.blocks), t_B

    def _embed(self, x_BCHW):
        return torch.cat([x_BCHW, self.x0], dim=1)

    def velocities(self, x_BPD, registers, modulations, grid, masks):
        t, (x_t, x0) = modulations[0][0], x_BPD.chunk(2, dim=1)
        return ((x_t - x0) / t).repeat(len(registers), 1, 1, 1), x_BPD.flatten(2)  # x_t = t eps + (1 - t) x0


def test_a_perfect_predictor_has_zero_loss_and_arrives_in_one_step(make_config, latents):
    decoder = PerfectDecoder(make_config(timesteps=LogitNormalConfig()).decoder)
    decoder.x0 = latents
    decoder.patches.forward = decoder._embed  # pyright: ignore
    tokens = random_tokens(LENGTHS)
    loss = decoder.losses(tokens, latents, Draws(range(4))).total
    assert float(loss) < 1e-8
    decoder.x0 = latents + 0.1
    assert float(decoder.losses(tokens, latents, Draws(range(4))).total) > 0.01  # eps - x0 + 0.1 / t is not perfect
    decoder.x0 = latents
    noise = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for steps in (1, 7):
        for solver in (Euler(), Heun()):
            found = decoder.decode(tokens, noise_BCHW=noise, steps=steps, guidance=None, solver=solver)
            torch.testing.assert_close(found, latents, rtol=0, atol=1e-5)


@both_forms
def test_the_loss_is_the_mean_squared_error_of_the_velocity(absence, make, latents):
    """Recomputed by hand from the same draws, one sample at a time, without attention masks."""
    decoder = make(absence=absence, null_probability=0.5, timesteps=LogitNormalConfig())
    tokens = random_tokens(LENGTHS)
    seeds = [0, 1, 2, 3]
    found = decoder.losses(tokens, latents, Draws(seeds))
    draws = Draws(seeds)
    noise, times, null = draws.normal(3, 16, 16), torch.sigmoid(draws.normal()), draws.uniform() < 0.5
    assert 0 < int(null.sum()) < 4
    path = sample_path(latents, noise, times)
    errors = []
    for i in range(4):
        x_t = times[i] * noise[i] + (1 - times[i]) * latents[i]
        assert torch.equal(x_t, path.x_t_BCHW[i])
        registers = (tokens.values_BND[i] @ decoder.tokens.weight.T + decoder.tokens.bias) + decoder.token_positions
        if absence == "mask":
            registers[LENGTHS[i] :] = decoder.mask_token
        else:
            registers = registers[: LENGTHS[i]]
        if null[i]:
            registers = decoder.null_token.expand(len(registers), -1)
        velocity, _ = decoder.velocity(
            decoder.patches(x_t[None]), registers[None], decoder.modulations(times[i : i + 1]), (4, 4)
        )
        errors.append((velocity[0] - (noise[i] - latents[i])).square().mean())
    torch.testing.assert_close(found.terms["flow"], torch.stack(errors).mean(), rtol=1e-5, atol=1e-6)


def test_the_head_shifts_scales_and_unpatchifies(make, latents):
    """norm(patch) * (1 + scale) + shift -> Linear -> patch; shift comes first in the modulation."""
    decoder, seen, t = make(), [], torch.tensor([0.3, 0.9, 0.5, 0.1])
    decoder.blocks[-1].register_forward_hook(lambda module, inputs, output: seen.extend(output))
    with torch.no_grad():
        registers = decoder.embed_tokens(random_tokens(LENGTHS).values_BND)
        found, _ = decoder.velocity(decoder.patches(latents), registers, decoder.modulations(t), (4, 4))
        temb = decoder.time(t)
        shift, scale = decoder.head_modulation(temb * torch.sigmoid(temb)).split(32, dim=1)
        for b in range(4):
            for patch in range(16):
                v = seen[0][b, patch]
                v = (v - v.mean()) / torch.sqrt(v.var(correction=0) + 1e-5) * (1 + scale[b]) + shift[b]
                row, column = 4 * (patch // 4), 4 * (patch % 4)
                expected = (decoder.head.weight @ v + decoder.head.bias).view(4, 4, 3).permute(2, 0, 1)
                piece = found[b, :, row : row + 4, column : column + 4]
                torch.testing.assert_close(piece, expected, rtol=1e-4, atol=1e-4)


def test_a_fresh_decoder_predicts_zero_and_null_is_learned_or_zero(make_config, latents):
    decoder = FlowDecoder(make_config().decoder)
    with torch.no_grad():
        assert torch.equal(decoder.decode(random_tokens(LENGTHS), noise_BCHW=latents, steps=2), latents)
    assert decoder.null_token.requires_grad and decoder.null_token.abs().sum() > 0
    zero = FlowDecoder(make_config(zero_null=True).decoder)
    assert not zero.null_token.requires_grad and not zero.null_token.any()


@pytest.mark.parametrize("block", [1, 2])
def test_alignment_sees_patch_features_of_the_named_block(block, make, latents):
    decoder = make(feature_block=block)
    seen = []
    decoder.blocks[block - 1].register_forward_hook(lambda module, inputs, output: seen.extend(output))
    features = decoder.losses(random_tokens(LENGTHS), latents, Draws(range(4))).features_BPD
    shares = torch.cat([output[:, :16] for output in seen])  # sorted by length
    assert features is not None and torch.equal(features[torch.tensor(LENGTHS).argsort()], shares)


# -- shapes, precision, compilation -----------------------------------------------------------------------------------


def test_grids_that_are_not_square(make):
    decoder = make()
    noise = torch.randn(2, 3, 8, 16, generator=torch.Generator().manual_seed(0))
    assert decoder.decode(random_tokens([2, 8]), noise_BCHW=noise, steps=1).shape == noise.shape
    with pytest.raises(ValueError, match="20x16 latents: both sides must be multiples of 4 up to 16x16"):
        decoder.decode(random_tokens([2]), noise_BCHW=torch.zeros(1, 3, 20, 16))
    stretched = make(interpolate=True)
    assert stretched.decode(random_tokens([2]), noise_BCHW=torch.zeros(1, 3, 20, 32), steps=1).shape == (1, 3, 20, 32)


@both_forms
def test_gradient_checkpointing_gives_the_same_gradients(absence, make, latents):
    decoder, tokens = make(absence=absence), random_tokens(LENGTHS)
    gradients = []
    for checkpoint in (False, True):
        decoder.checkpoint_blocks = checkpoint
        decoder.zero_grad()
        decoder.losses(tokens, latents, Draws(range(4))).total.backward()
        gradients.append({name: p.grad.clone() for name, p in decoder.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 20
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name])


@both_forms
def test_bf16_autocast_is_near_float32_and_gives_float32_losses(absence, make, latents):
    decoder, tokens = make(absence=absence), random_tokens(LENGTHS)
    expected = decoder.losses(tokens, latents, Draws(range(4))).total
    with torch.autocast("cpu", torch.bfloat16):
        found = decoder.losses(tokens, latents, Draws(range(4))).total
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.03, atol=0)
    found.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in decoder.parameters())


def test_a_bfloat16_decoder_integrates_in_float32(make, latents):
    decoder, tokens = make(), random_tokens(LENGTHS)
    with torch.no_grad():
        expected = decoder.decode(tokens, noise_BCHW=latents, steps=2, guidance=None)
        found = decoder.bfloat16().decode(tokens, noise_BCHW=latents, steps=2, guidance=None)
    assert found.dtype == torch.float32
    assert float((found - expected).std() / (expected - latents).std()) < 0.03


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_equals_eager(backend, make, latents):
    torch._dynamo.reset()
    decoder, tokens = make(), random_tokens([4] * 4)
    with torch.no_grad():
        expected = decoder.decode(tokens, noise_BCHW=latents, steps=2, guidance="cfg:2")
        decoder.velocity = torch.compile(decoder.velocity, backend=backend)  # pyright: ignore
        found = decoder.decode(tokens, noise_BCHW=latents, steps=2, guidance="cfg:2")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_inductor_equals_eager(make, latents):
    torch._dynamo.reset()
    decoder, tokens = make(), random_tokens([4] * 4)
    with torch.no_grad():
        expected = decoder.decode(tokens, noise_BCHW=latents, steps=2, guidance=None)
        decoder.velocity = torch.compile(decoder.velocity)  # pyright: ignore
        found = decoder.decode(tokens, noise_BCHW=latents, steps=2, guidance=None)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
