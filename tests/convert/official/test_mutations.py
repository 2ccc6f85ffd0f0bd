"""The parity tests notice the mistakes that a rebuild of this model invites: each one, made on purpose, fails them."""

from collections.abc import Callable

import pytest
import torch
from parity import Case, encoding_errors, velocity_errors

from openflextok.nets import absence, attention, encoders, flow_decoder, patches, transformer

Mutate = Callable[[pytest.MonkeyPatch], None]


def swap_gate_and_shift(patch: pytest.MonkeyPatch) -> None:
    right = transformer.TwoStreamBlock.modulate
    order = [2, 1, 0, 3, 4, 5]
    patch.setattr(transformer.TwoStreamBlock, "modulate", lambda self, temb: right(self, temb)[:, order])


def swap_streams(patch: pytest.MonkeyPatch) -> None:
    right = transformer.TwoStreamBlock.modulate
    patch.setattr(transformer.TwoStreamBlock, "modulate", lambda self, temb: right(self, temb).flip(2))


def channels_slowest(patch: pytest.MonkeyPatch) -> None:
    def patchify(x, size):
        B, C, H, W = x.shape
        x = x.view(B, C, H // size, size, W // size, size).permute(0, 2, 4, 1, 3, 5)
        return x.reshape(B, (H // size) * (W // size), C * size * size)

    patch.setattr(patches, "patchify", patchify)


def patches_column_by_column(patch: pytest.MonkeyPatch) -> None:
    right = patches.patchify
    patch.setattr(patches, "patchify", lambda x, size: right(x.transpose(2, 3), size))


def scale_by_head_dim(patch: pytest.MonkeyPatch) -> None:
    right = attention.sdpa
    patch.setattr(attention, "_backend", [lambda q, k, v, mask, scale: right(q, k, v, mask, 1 / q.shape[-1])])


def axes_of_positions(patch: pytest.MonkeyPatch) -> None:
    right = patches.PatchEmbedding.table

    def table(self, grid):
        h, w = grid
        return right(self, (w, h)).unflatten(1, (w, h)).transpose(1, 2).flatten(1, 2)

    patch.setattr(patches.PatchEmbedding, "table", table)


def mask_before_position(patch: pytest.MonkeyPatch) -> None:
    def fill(self, registers, keep, mask_token, total):
        positions = self.positions[: registers.shape[1]]
        return torch.where(keep[..., None], registers, mask_token + positions)

    patch.setattr(absence.MaskToken, "fill", fill)
    right = flow_decoder.FlowDecoder.embed_tokens

    def embed_tokens(self, values):
        absence.FORMS["mask"].positions = self.token_positions  # pyright: ignore
        return right(self, values)

    patch.setattr(flow_decoder.FlowDecoder, "embed_tokens", embed_tokens)


def another_epsilon_of_norms(patch: pytest.MonkeyPatch) -> None:
    def layer_norm(x):
        return torch.nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6)

    for module in (attention, transformer, encoders, flow_decoder):
        patch.setattr(module, "layer_norm", layer_norm)


def registers_see_later_ones(patch: pytest.MonkeyPatch) -> None:
    def mask(patches, registers, device):
        right = torch.ones(patches + registers, patches + registers, dtype=torch.bool)
        right[:patches, patches:] = False
        return right

    patch.setattr(encoders, "register_mask", mask)


MUTATIONS: list[tuple[Mutate, Callable[..., dict[str, float]]]] = [
    (swap_gate_and_shift, velocity_errors),
    (swap_streams, velocity_errors),
    (channels_slowest, encoding_errors),
    (channels_slowest, velocity_errors),
    (patches_column_by_column, encoding_errors),
    (scale_by_head_dim, encoding_errors),
    (scale_by_head_dim, velocity_errors),
    (axes_of_positions, encoding_errors),
    (mask_before_position, velocity_errors),
    (registers_see_later_ones, encoding_errors),
    (another_epsilon_of_norms, velocity_errors),
]


@pytest.mark.parametrize("mutate, errors", MUTATIONS, ids=lambda f: f.__name__)
def test_a_mutation_breaks_parity(mutate, errors, case: Case, monkeypatch) -> None:
    tokenizer = case.load()
    assert max(errors(tokenizer, case).values()) <= 2e-5
    mutate(monkeypatch)
    limit = 3e-5 if mutate is another_epsilon_of_norms else 1e-2
    assert max(errors(tokenizer, case).values()) > limit, "the reference tensors do not tell this mistake"


def test_swapped_sincos_axes_differ_from_the_reference_table(case: Case) -> None:
    """Stored tables win in official weights; a model of our own is built from this one."""
    tokenizer = case.load()
    stored = tokenizer.encoder.patches.positions  # pyright: ignore
    table = patches.sincos_table((stored.shape[-2], stored.shape[-1]), stored.shape[1])
    torch.testing.assert_close(table, stored, rtol=0, atol=1e-6)
    assert (table.transpose(2, 3) - stored).abs().max() > 0.1
