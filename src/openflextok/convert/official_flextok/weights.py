"""Their weights under our names, and ours under theirs: one table, both directions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set

import torch
from torch import Tensor

from openflextok.config import TokenizerConfig
from openflextok.storage import CheckpointError, Weights, WeightsFile
from openflextok.tokenizer import Tokenizer

# Our name, then theirs; where they keep several, ours is the stack of them along its rows.
# "*" stands for the same text on both sides.
KEYS: tuple[tuple[str, ...], ...] = (
    ("space.*", "vae.vae.*"),
    ("encoder.patches.projection.*", "encoder.module_dict.enc_patch_emb.patch_proj.*"),
    ("encoder.patches.positions", "encoder.module_dict.enc_posemb_module.posembs"),
    ("encoder.registers", "encoder.module_dict.enc_register_module.registers"),
    (
        "encoder.blocks.*.attention.qkv.weight",
        "encoder.module_dict.enc_transformer.blocks.*.attn.wq.weight",
        "encoder.module_dict.enc_transformer.blocks.*.attn.wk.weight",
        "encoder.module_dict.enc_transformer.blocks.*.attn.wv.weight",
    ),
    ("encoder.blocks.*.attention.out.weight", "encoder.module_dict.enc_transformer.blocks.*.attn.proj.weight"),
    (
        "encoder.blocks.*.mlp.gate_up.weight",
        "encoder.module_dict.enc_transformer.blocks.*.mlp.fc1.weight",
        "encoder.module_dict.enc_transformer.blocks.*.mlp.fc3.weight",
    ),
    ("encoder.blocks.*.mlp.down.weight", "encoder.module_dict.enc_transformer.blocks.*.mlp.fc2.weight"),
    ("encoder.head.*", "encoder.module_dict.enc_to_latents.proj.*"),
    ("decoder.tokens.*", "decoder.module_dict.dec_from_latents.proj.*"),
    ("decoder.token_positions", "decoder.module_dict.dec_registers_posemb_module.posembs"),
    ("decoder.mask_token", "decoder.module_dict.dec_nested_dropout.dropout_mask_token"),
    ("decoder.null_token", "decoder.module_dict.dec_latent_dropout.nullcond"),
    ("decoder.patches.projection.*", "decoder.module_dict.dec_noise_patch_emb.patch_proj.*"),
    ("decoder.patches.positions", "decoder.module_dict.dec_patches_posemb_module.posembs"),
    ("decoder.time.input.*", "decoder.module_dict.dec_time_embedder.mlp.0.*"),
    ("decoder.time.output.*", "decoder.module_dict.dec_time_embedder.mlp.2.*"),
    ("decoder.blocks.*.modulation.*", "decoder.module_dict.dec_transformer.blocks.*.adaLN_modulation.1.*"),
    (
        "decoder.blocks.*.attention.qkv.weight",
        "decoder.module_dict.dec_transformer.blocks.*.attn.wq.weight",
        "decoder.module_dict.dec_transformer.blocks.*.attn.wk.weight",
        "decoder.module_dict.dec_transformer.blocks.*.attn.wv.weight",
    ),
    ("decoder.blocks.*.attention.out.weight", "decoder.module_dict.dec_transformer.blocks.*.attn.proj.weight"),
    (
        "decoder.blocks.*.mlp.gate_up.weight",
        "decoder.module_dict.dec_transformer.blocks.*.mlp.fc1.weight",
        "decoder.module_dict.dec_transformer.blocks.*.mlp.fc3.weight",
    ),
    ("decoder.blocks.*.mlp.down.weight", "decoder.module_dict.dec_transformer.blocks.*.mlp.fc2.weight"),
    ("decoder.head_modulation.*", "decoder.module_dict.dec_to_patches.adaLN_modulation.1.*"),
    ("decoder.head.*", "decoder.module_dict.dec_to_patches.proj.*"),
)
TOKEN_POSITIONS = "decoder.token_positions"  # (N, D); theirs has the tokens last
NULL_TOKEN = "decoder.null_token"  # theirs is absent where the null condition is zero
# alignment heads and a learned loss weight: used in training alone
EXTRAS = re.compile(r"decoder\.module_dict\.\w*repa\w*\..*|vae\.logvar")


def _match(pattern: str, name: str) -> list[str] | None:
    """What "*" stands for in `name`, if it fits."""
    found = re.fullmatch("(.+)".join(re.escape(part) for part in pattern.split("*")), name)
    return None if found is None else list(found.groups())


def _fill_in(pattern: str, parts: Sequence[str]) -> str:
    words = pattern.split("*")
    return "".join(a + b for a, b in zip(words, [*parts, ""], strict=True))


def their_names(ours: str) -> list[str]:
    """Our weight -> theirs, in the order in which they are stacked."""
    for pattern, *theirs in KEYS:
        if (parts := _match(pattern, ours)) is not None:
            return [_fill_in(name, parts) for name in theirs]
    raise KeyError(ours)


class OfficialWeights(Weights):
    """Their tensors under our names; CheckpointError for unknown, missing and misshapen ones, by their names."""

    def __init__(self, file: WeightsFile, config: TokenizerConfig) -> None:
        with torch.device("meta"):
            self.shapes = {name: tuple(tensor.shape) for name, tensor in Tokenizer(config).state_dict().items()}
        absent = {NULL_TOKEN} if config.decoder.zero_null else set()
        self.file = file
        self.sources = {name: their_names(name) for name in self.shapes.keys() - absent}
        wanted = {name for names in self.sources.values() for name in names}
        extras = {name for name in file.shapes if EXTRAS.fullmatch(name)}
        self._refuse("missing", wanted - file.shapes.keys())
        self._refuse("unknown", file.shapes.keys() - wanted - extras)
        for ours, names in self.sources.items():
            for name in names:
                found, expected = file.shapes[name], _their_shape(ours, self.shapes[ours], len(names))
                if found != expected:
                    raise CheckpointError(
                        f"{file.path}: {name} is {list(found)}, but the config says {list(expected)}: "
                        "config and weights belong to different models"
                    )

    def _refuse(self, problem: str, names: Set[str]) -> None:
        if names:
            examples = ", ".join(sorted(names)[:3])
            raise CheckpointError(
                f"{self.file.path}: {len(names)} weights are {problem}: {examples}: "
                "config and weights belong to different models, or the file is damaged: get both again"
            )

    def read(self, name: str, dtype: torch.dtype | None = None) -> Tensor:
        if name not in self.sources:
            return torch.zeros(self.shapes[name], dtype=dtype)
        names = self.sources[name]
        if len(names) > 1:
            return self.file.join(names, dtype)
        tensor = self.file.read(names[0], dtype)
        return tensor.reshape(self.shapes[name][::-1]).T.contiguous() if name == TOKEN_POSITIONS else tensor


def _their_shape(ours: str, shape: tuple[int, ...], parts: int) -> tuple[int, ...]:
    """The shape of one of the `parts` of our tensor."""
    if ours == TOKEN_POSITIONS:
        return (1, 1, *shape[::-1])
    return (shape[0] // parts, *shape[1:]) if parts > 1 else shape


def official_tensors(weights: Weights, zero_null: bool) -> Iterator[tuple[str, Tensor]]:
    """Ours under their names, each in memory of its own."""
    for ours in weights.shapes:
        if zero_null and ours == NULL_TOKEN:
            continue
        tensor, names = weights.read(ours), their_names(ours)
        if ours == TOKEN_POSITIONS:
            tensor = tensor.T[None, None]
        for name, part in zip(names, tensor.chunk(len(names)) if len(names) > 1 else [tensor], strict=True):
            yield name, part.clone(memory_format=torch.contiguous_format)
