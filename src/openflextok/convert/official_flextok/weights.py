"""Their weights under our names, and ours under theirs: one table, both directions."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence, Set

import torch
from torch import Tensor

from openflextok.config import TokenizerConfig
from openflextok.convert.official_flextok.config import official_decoder
from openflextok.storage import CheckpointError, Weights, WeightsFile
from openflextok.tokenizer import Tokenizer


class Form(ABC):
    """How one of our tensors is made of theirs."""

    @abstractmethod
    def their_shape(self, shape: tuple[int, ...], count: int) -> tuple[int, ...]:
        """The shape of each of `count` tensors of theirs, from the shape of ours."""

    @abstractmethod
    def read(self, file: WeightsFile, names: Sequence[str], dtype: torch.dtype | None) -> Tensor: ...

    @abstractmethod
    def split(self, tensor: Tensor, count: int) -> Sequence[Tensor]:
        """Ours -> theirs."""


class AsIs(Form):
    def their_shape(self, shape: tuple[int, ...], count: int) -> tuple[int, ...]:
        return shape

    def read(self, file: WeightsFile, names: Sequence[str], dtype: torch.dtype | None) -> Tensor:
        return file.read(names[0], dtype)

    def split(self, tensor: Tensor, count: int) -> Sequence[Tensor]:
        return [tensor]


class Stacked(Form):
    """Theirs one after another, along the rows of ours."""

    def their_shape(self, shape: tuple[int, ...], count: int) -> tuple[int, ...]:
        return (shape[0] // count, *shape[1:])

    def read(self, file: WeightsFile, names: Sequence[str], dtype: torch.dtype | None) -> Tensor:
        return file.join(names, dtype)

    def split(self, tensor: Tensor, count: int) -> Sequence[Tensor]:
        return tensor.chunk(count)


class TokensLast(Form):
    """(N, D) here, (1, 1, D, N) there."""

    def their_shape(self, shape: tuple[int, ...], count: int) -> tuple[int, ...]:
        return (1, 1, *shape[::-1])

    def read(self, file: WeightsFile, names: Sequence[str], dtype: torch.dtype | None) -> Tensor:
        return file.read(names[0], dtype)[0, 0].T.contiguous()

    def split(self, tensor: Tensor, count: int) -> Sequence[Tensor]:
        return [tensor.T[None, None]]


AS_IS, STACKED, TOKENS_LAST = AsIs(), Stacked(), TokensLast()


class Row:
    """Our name and theirs; "*" stands for the same text in all of them."""

    def __init__(self, form: Form, ours: str, *theirs: str) -> None:
        self.form, self.ours, self.theirs = form, ours, theirs

    def their_names(self, ours: str) -> list[str] | None:
        """Theirs, if the row is about this weight of ours."""
        found = re.fullmatch("(.+)".join(re.escape(part) for part in self.ours.split("*")), ours)
        return None if found is None else [_fill_in(name, found.groups()) for name in self.theirs]


def _fill_in(pattern: str, parts: Sequence[str]) -> str:
    words = pattern.split("*")
    return "".join(a + b for a, b in zip(words, [*parts, ""], strict=True))


KEYS = (
    Row(AS_IS, "space.*", "vae.vae.*"),
    Row(AS_IS, "encoder.patches.projection.*", "encoder.module_dict.enc_patch_emb.patch_proj.*"),
    Row(AS_IS, "encoder.patches.positions", "encoder.module_dict.enc_posemb_module.posembs"),
    Row(AS_IS, "encoder.registers", "encoder.module_dict.enc_register_module.registers"),
    Row(
        STACKED,
        "encoder.blocks.*.attention.qkv.weight",
        "encoder.module_dict.enc_transformer.blocks.*.attn.wq.weight",
        "encoder.module_dict.enc_transformer.blocks.*.attn.wk.weight",
        "encoder.module_dict.enc_transformer.blocks.*.attn.wv.weight",
    ),
    Row(
        AS_IS, "encoder.blocks.*.attention.out.weight", "encoder.module_dict.enc_transformer.blocks.*.attn.proj.weight"
    ),
    Row(
        STACKED,
        "encoder.blocks.*.mlp.gate_up.weight",
        "encoder.module_dict.enc_transformer.blocks.*.mlp.fc1.weight",
        "encoder.module_dict.enc_transformer.blocks.*.mlp.fc3.weight",
    ),
    Row(AS_IS, "encoder.blocks.*.mlp.down.weight", "encoder.module_dict.enc_transformer.blocks.*.mlp.fc2.weight"),
    Row(AS_IS, "encoder.head.*", "encoder.module_dict.enc_to_latents.proj.*"),
    Row(AS_IS, "decoder.tokens.*", "decoder.module_dict.dec_from_latents.proj.*"),
    Row(TOKENS_LAST, "decoder.token_positions", "decoder.module_dict.dec_registers_posemb_module.posembs"),
    Row(AS_IS, "decoder.mask_token", "decoder.module_dict.dec_nested_dropout.dropout_mask_token"),
    Row(AS_IS, "decoder.null_token", "decoder.module_dict.dec_latent_dropout.nullcond"),
    Row(AS_IS, "decoder.patches.projection.*", "decoder.module_dict.dec_noise_patch_emb.patch_proj.*"),
    Row(AS_IS, "decoder.patches.positions", "decoder.module_dict.dec_patches_posemb_module.posembs"),
    Row(AS_IS, "decoder.time.input.*", "decoder.module_dict.dec_time_embedder.mlp.0.*"),
    Row(AS_IS, "decoder.time.output.*", "decoder.module_dict.dec_time_embedder.mlp.2.*"),
    Row(AS_IS, "decoder.blocks.*.modulation.*", "decoder.module_dict.dec_transformer.blocks.*.adaLN_modulation.1.*"),
    Row(
        STACKED,
        "decoder.blocks.*.attention.qkv.weight",
        "decoder.module_dict.dec_transformer.blocks.*.attn.wq.weight",
        "decoder.module_dict.dec_transformer.blocks.*.attn.wk.weight",
        "decoder.module_dict.dec_transformer.blocks.*.attn.wv.weight",
    ),
    Row(
        AS_IS, "decoder.blocks.*.attention.out.weight", "decoder.module_dict.dec_transformer.blocks.*.attn.proj.weight"
    ),
    Row(
        STACKED,
        "decoder.blocks.*.mlp.gate_up.weight",
        "decoder.module_dict.dec_transformer.blocks.*.mlp.fc1.weight",
        "decoder.module_dict.dec_transformer.blocks.*.mlp.fc3.weight",
    ),
    Row(AS_IS, "decoder.blocks.*.mlp.down.weight", "decoder.module_dict.dec_transformer.blocks.*.mlp.fc2.weight"),
    Row(AS_IS, "decoder.head_modulation.*", "decoder.module_dict.dec_to_patches.adaLN_modulation.1.*"),
    Row(AS_IS, "decoder.head.*", "decoder.module_dict.dec_to_patches.proj.*"),
)
NULL_TOKEN = "decoder.null_token"  # theirs is absent where the null condition is zero
# alignment heads and a learned loss weight: used in training alone
EXTRAS = re.compile(r"decoder\.module_dict\.\w*repa\w*\..*|vae\.logvar")


def find_row(ours: str) -> tuple[Form, list[str]]:
    """Our weight -> its form, and theirs in the order of the form."""
    return next((row.form, names) for row in KEYS if (names := row.their_names(ours)) is not None)


class OfficialWeights(Weights):
    """Their tensors under our names; CheckpointError for unknown, missing and misshapen ones, by their names."""

    def __init__(self, file: WeightsFile, config: TokenizerConfig) -> None:
        with torch.device("meta"):
            self.shapes = {name: tuple(tensor.shape) for name, tensor in Tokenizer(config).state_dict().items()}
        absent = {NULL_TOKEN} if official_decoder(config).zero_null else set()
        self.file = file
        self.sources = {name: find_row(name) for name in self.shapes.keys() - absent}
        wanted = {name for _, names in self.sources.values() for name in names}
        self._refuse("missing", wanted - file.shapes.keys())
        self._refuse("unknown", {name for name in file.shapes.keys() - wanted if not EXTRAS.fullmatch(name)})
        for ours, (form, names) in self.sources.items():
            for name in names:
                found, expected = file.shapes[name], form.their_shape(self.shapes[ours], len(names))
                if found != expected:
                    raise CheckpointError(
                        f"{file.path}: {name} is {list(found)}, but {_config_of(name)} says {list(expected)}: "
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
        form, names = self.sources[name]
        return form.read(self.file, names, dtype)


def _config_of(name: str) -> str:
    return "the autoencoder's vae_config.json (or its other weights)" if name.startswith("vae.") else "the config"


def official_tensors(weights: Weights, zero_null: bool) -> Iterator[tuple[str, Tensor]]:
    """Ours under their names, each in memory of its own."""
    for ours in weights.shapes:
        if zero_null and ours == NULL_TOKEN:
            continue
        form, names = find_row(ours)
        for name, part in zip(names, form.split(weights.read(ours), len(names)), strict=True):
            yield name, part.clone(memory_format=torch.contiguous_format)
