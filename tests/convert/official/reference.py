"""The model written once more, as plainly as its facts read: one sample at a time, from official names and entries alone.

It shares no code with the library and is checked against the reference tensors, so that it can judge what they do not vary.
Shape suffixes: C channels, H x W latents, P patches, R registers, L = P + R, D width.
"""

import math
from typing import Any

import torch
from torch import Tensor

State = dict[str, Tensor]


class Reference:
    """An official checkpoint: its entries and its tensors, in float64."""

    def __init__(self, entries: dict[str, Any], state: State) -> None:
        self.encoder, self.decoder = (entries[part]["module_dict"] for part in ("encoder", "decoder"))
        self.levels = torch.tensor(entries["regularizer"]["levels"], dtype=torch.float64)
        self.state = {name: tensor.double() for name, tensor in state.items()}

    def linear(self, name: str, x: Tensor) -> Tensor:
        y = x @ self.state[f"{name}.weight"].T
        return y + self.state[f"{name}.bias"] if f"{name}.bias" in self.state else y

    def positions(self, part: str, module: str, shape: tuple[int, ...]) -> Tensor:
        """(n, D): a stored table's corner, or a sum of learned vectors, one for each axis."""
        entries, stored = getattr(self, part)[module], self.state[f"{part}.module_dict.{module}.posembs"]
        if entries["posemb_type"] == "sincos":
            table = stored[0]
        elif len(shape) == 1:
            table = stored[0, 0]
        else:
            table = stored[0, 0][:, :, None] + stored[1, 0][:, None, :]
        places = table[(slice(None), *(slice(n) for n in shape))]
        return places.flatten(1).T

    def patches_in(self, part: str, embedder: str, adder: str, latents_CHW: Tensor) -> Tensor:
        size = getattr(self, part)[embedder]["patch_sizes"][0]
        rows, columns = (side // size for side in latents_CHW.shape[1:])
        vectors = [
            latents_CHW[:, size * i : size * i + size, size * j : size * j + size].permute(1, 2, 0).flatten()
            for i in range(rows)
            for j in range(columns)
        ]
        embedded = self.linear(f"{part}.module_dict.{embedder}.patch_proj", torch.stack(vectors))
        return embedded + self.positions(part, adder, (rows, columns))

    def attention(self, block: str, head_dim: int, x_LD: Tensor, allowed_LL: Tensor) -> Tensor:
        heads = []
        q, k, v = (self.linear(f"{block}.attn.w{kind}", x_LD) for kind in "qkv")
        for first in range(0, x_LD.shape[1], head_dim):
            columns = slice(first, first + head_dim)
            scores = norm(q[:, columns]) @ norm(k[:, columns]).T * (8 / head_dim)
            heads.append(scores.masked_fill(~allowed_LL, -math.inf).softmax(-1) @ v[:, columns])
        return self.linear(f"{block}.attn.proj", torch.cat(heads, dim=1))

    def mlp(self, block: str, x_LD: Tensor) -> Tensor:
        gate, up = self.linear(f"{block}.mlp.fc1", x_LD), self.linear(f"{block}.mlp.fc3", x_LD)
        return self.linear(f"{block}.mlp.fc2", silu(gate) * up)

    def z(self, latents_CHW: Tensor) -> Tensor:
        """(C, H, W) -> (R, slots): what the quantizer gets."""
        patches = self.patches_in("encoder", "enc_patch_emb", "enc_posemb_module", latents_CHW.double())
        registers = self.state["encoder.module_dict.enc_register_module.registers"]
        x, first = torch.cat([patches, registers]), len(patches)
        place = torch.arange(len(x))
        allowed = (place[None] < first) | ((place[:, None] >= first) & (place[None] <= place[:, None]))
        trunk = self.encoder["enc_transformer"]
        for i in range(trunk["depth"]):
            block = f"encoder.module_dict.enc_transformer.blocks.{i}"
            x = x + self.attention(block, trunk.get("head_dim", 64), norm(x), allowed)
            x = x + self.mlp(block, norm(x))
        return self.linear("encoder.module_dict.enc_to_latents.proj", norm(x[first:]))

    def quantise(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """-> values in [-1, 1] (R, slots), ids (R,), distance of each slot to the nearest boundary, in levels."""
        half = (self.levels - 1) * (1 + 1e-3) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0).double()
        bounded = torch.tanh(z + torch.atanh(offset / half)) * half - offset
        digits = bounded.round()
        place_values = torch.cat([torch.ones(1).double(), self.levels[:-1].cumprod(0)])
        ids = ((digits + self.levels // 2) * place_values).sum(-1).long()
        return digits / (self.levels // 2), ids, 0.5 - (bounded - digits).abs()

    def registers_in(self, values: Tensor, kept: int, null: bool) -> Tensor:
        module = "decoder.module_dict"
        x = self.linear(f"{module}.dec_from_latents.proj", values)
        x = x + self.positions("decoder", "dec_registers_posemb_module", (len(x),))
        x[kept:] = self.state[f"{module}.dec_nested_dropout.dropout_mask_token"]
        if null:
            x[:] = self.state.get(f"{module}.dec_latent_dropout.nullcond", torch.zeros(()))
        return x

    def velocity(self, noised_CHW: Tensor, values: Tensor, kept: int, null: bool, t: float) -> Tensor:
        """(C, H, W) at time t -> d x / d t, from the first `kept` tokens, or from none where `null`."""
        modules, trunk = "decoder.module_dict", self.decoder["dec_transformer"]
        rate = 1000 / self.decoder["dec_time_embedder"].get("max_timestep", 1000.0)
        angles = torch.tensor([t * rate * 256 ** (-i / 128) for i in range(128)], dtype=torch.float64)
        sinusoids = torch.cat([angles.cos(), angles.sin()])
        hidden = silu(self.linear(f"{modules}.dec_time_embedder.mlp.0", sinusoids))
        temb = silu(self.linear(f"{modules}.dec_time_embedder.mlp.2", hidden))
        patches = self.patches_in("decoder", "dec_noise_patch_emb", "dec_patches_posemb_module", noised_CHW.double())
        registers = self.registers_in(values, kept, null)
        x, first = torch.cat([patches, registers]), len(patches)
        everything = torch.ones(len(x), len(x), dtype=torch.bool)
        for i in range(trunk["depth"]):
            block = f"{modules}.dec_transformer.blocks.{i}"
            streams = self.linear(f"{block}.adaLN_modulation.1", temb).chunk(2)
            numbers = torch.cat([s.expand(n, -1) for s, n in zip(streams, (first, len(registers)), strict=True)])
            gate_a, gate_m, shift_a, scale_a, shift_m, scale_m = numbers.chunk(6, dim=1)
            x = x + gate_a * self.attention(
                block, trunk.get("head_dim", 64), norm(x) * (1 + scale_a) + shift_a, everything
            )
            x = x + gate_m * self.mlp(block, norm(x) * (1 + scale_m) + shift_m)
        shift, scale = self.linear(f"{modules}.dec_to_patches.adaLN_modulation.1", temb).chunk(2)
        out = self.linear(f"{modules}.dec_to_patches.proj", norm(x[:first]) * (1 + scale) + shift)
        return self.unpatch(out, noised_CHW.shape)

    def unpatch(self, rows_PK: Tensor, shape: torch.Size) -> Tensor:
        size = self.decoder["dec_to_patches"]["patch_sizes"][0]
        image, columns = torch.empty(shape, dtype=torch.float64), shape[2] // size
        for p, vector in enumerate(rows_PK):
            i, j = size * (p // columns), size * (p % columns)
            image[:, i : i + size, j : j + size] = vector.view(size, size, -1).permute(2, 0, 1)
        return image

    def decode(self, values: Tensor, kept: int, noise_CHW: Tensor, steps: int, guidance: str | None) -> Tensor:
        """Euler from noise at t = 1 to latents at t = 0; guidance is None, 'cfg:3' or 'apg:7.5'."""
        kind, _, strength = (guidance or "none:1").partition(":")
        further = float(strength) - 1
        x, momentum = noise_CHW.double(), torch.zeros((), dtype=torch.float64)
        for i in range(steps, 0, -1):
            v = self.velocity(x, values, kept, False, i / steps)
            if kind != "none":
                difference = v - self.velocity(x, values, kept, True, i / steps)
            if kind == "cfg":
                v = v + further * difference
            if kind == "apg":
                momentum = difference - 0.5 * momentum
                pushed = momentum * min(1.0, 2.5 / momentum.norm().item())
                along = v / v.norm()
                v = v + further * (pushed - (pushed * along).sum() * along)
            x = x - v / steps
        return x


def norm(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()


def silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))
