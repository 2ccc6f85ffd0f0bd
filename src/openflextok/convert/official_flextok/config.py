"""Their configuration as data, and ours as theirs.

It names classes to be built. Here class names are compared with the tables of `modules` and never looked up or
imported; numbers are taken, and every entry that this library would not honour is refused by its name.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from openflextok.config import (
    AutoencoderKLConfig,
    ConfigError,
    FlowDecoderConfig,
    FSQConfig,
    LogitNormalConfig,
    ModeConfig,
    RegisterViTConfig,
    TokenizerConfig,
    UniformChoiceConfig,
    UniformConfig,
    from_dict,
    to_dict,
    type_name,
)
from openflextok.convert.diffusers_vae import DEFAULTS as DIFFUSERS
from openflextok.convert.diffusers_vae import autoencoder_config
from openflextok.convert.official_flextok.modules import (
    DECODER,
    ENCODER,
    NUMBER,
    PARTS,
    check_modules,
    check_value,
    class_name,
)
from openflextok.convert.official_flextok.wiring import check_wiring
from openflextok.lengths import power_lengths

logger = logging.getLogger(__name__)


@cache
def template() -> dict[str, Any]:
    """A released config; not to be changed by who asks for it."""
    return json.loads((resources.files("openflextok.convert.official_flextok") / "template.json").read_text())


def read_config(entries: dict[str, Any], shapes: Mapping[str, tuple[int, ...]], vae_config: Path) -> TokenizerConfig:
    """Their config, and the shapes of their autoencoder's weights -> ours. ConfigError names what cannot be honoured."""
    known = template()
    parts = check_modules({k: v for k, v in entries.items() if k != "_target_"}, PARTS, known, "")
    e = check_modules(parts["encoder"].get("module_dict"), ENCODER, known["encoder"]["module_dict"], "encoder.")
    decoder = _without_alignment(parts["decoder"].get("module_dict"))
    d = check_modules(decoder, DECODER, known["decoder"]["module_dict"], "decoder.")
    _check_streams(e, d)
    check_wiring(entries, known)
    space = _autoencoder(parts["vae"], shapes, vae_config)
    downsample = 2 ** (len(space.block_out_channels) - 1)
    tables = [(e["enc_patch_emb"], e["enc_posemb_module"]), (d["dec_noise_patch_emb"], d["dec_patches_posemb_module"])]
    patches = [_square(embedder) for embedder, _ in tables]
    unit = math.lcm(*patches)
    sides = [[size * patch // unit for size in _grid(t)] for (_, t), patch in zip(tables, patches, strict=True)]
    registers = e["enc_register_module"]["n_max"]
    if e["enc_register_module"].get("n_eval") not in (None, registers):
        raise ConfigError(f"encoder.enc_register_module.n_eval: only null or n_max = {registers} can be honoured")
    _check_counts(e, d, registers, len(parts["regularizer"]["levels"]))
    trunk, trunk2, null = e["enc_transformer"], d["dec_transformer"], d["dec_latent_dropout"]
    depth = trunk2.get("depth", 12)
    config = TokenizerConfig(
        image_size=(unit * downsample * min(s[0] for s in sides), unit * downsample * min(s[1] for s in sides)),
        space=space,
        encoder=RegisterViTConfig(
            channels=e["enc_patch_emb"]["channels_in"],
            patch_size=patches[0],
            width=trunk.get("dim", 768),
            depth=trunk.get("depth", 12),
            grid=_grid(e["enc_posemb_module"]),
            num_registers=registers,
            slot_dim=e["enc_to_latents"]["dim_out"],
            head_dim=trunk.get("head_dim", 64),
            positions=_positions(e["enc_posemb_module"]),
        ),
        quantizer=FSQConfig(tuple(parts["regularizer"]["levels"])),
        lengths=_lengths(d["dec_nested_dropout"], registers),
        decoder=FlowDecoderConfig(
            channels=d["dec_noise_patch_emb"]["channels_in"],
            patch_size=patches[1],
            width=trunk2.get("dim", 768),
            depth=depth,
            grid=_grid(d["dec_patches_posemb_module"]),
            num_tokens=d["dec_registers_posemb_module"]["max_sizes"][0],
            token_dim=d["dec_from_latents"]["dim_in"],
            head_dim=trunk2.get("head_dim", 64),
            positions=_positions(d["dec_patches_posemb_module"]),
            null_probability=null.get("dropout_prob", 0.0),
            zero_null=class_name(null) == "ZeroNullCond",
            max_timestep=d["dec_time_embedder"].get("max_timestep", 1000.0),
            timesteps=_timesteps(parts["flow_matching_noise_module"]),
            guidance="apg:15" if depth <= 12 else "apg:7.5",  # as the release advises
            feature_block=min((trunk2.get("intermediate_layers") or [1])[0] + 1, depth),
        ),
    )
    config = from_dict(TokenizerConfig, to_dict(config))  # which checks the type of every entry
    _check_repeated(entries, write_config(config))
    return config


def _without_alignment(modules: Any) -> Any:
    """Alignment heads are for training alone: they may be anything."""
    return {n: m for n, m in modules.items() if "repa" not in n} if isinstance(modules, dict) else modules


def _check_streams(encoder: dict[str, dict[str, Any]], decoder: dict[str, dict[str, Any]]) -> None:
    """Causal registers, full attention in the decoder; one number per stream and block; positions of one kind."""
    for modules, name, mask in ((encoder, "enc_seq_packer", "causal_last"), (decoder, "dec_seq_packer", "full")):
        found = modules[name].get("mask_mode", "full")
        if found != mask:
            raise ConfigError(f"{name}.mask_mode is {found!r}: only {mask!r} can be honoured")
    streams = decoder["dec_seq_packer"].get("per_subseq_embs"), decoder["dec_transformer"].get("adaLN_expansion")
    if streams != (True, 2):
        raise ConfigError(f"per_subseq_embs and adaLN_expansion are {streams}: only (True, 2) can be honoured")
    registers = decoder["dec_registers_posemb_module"]
    if len(registers["max_sizes"]) != 1 or registers.get("posemb_type") != "learnable_sum":
        raise ConfigError("dec_registers_posemb_module: only one learnable_sum table of one size can be honoured")


def _check_counts(
    encoder: dict[str, dict[str, Any]], decoder: dict[str, dict[str, Any]], registers: int, levels: int
) -> None:
    """Registers, slots and heads fit each other."""
    positions = decoder["dec_registers_posemb_module"]["max_sizes"][0]
    if positions != registers:
        raise ConfigError(
            f"dec_registers_posemb_module.max_sizes is [{positions}]: only enc_register_module.n_max, {registers}, can be honoured"
        )
    for name, dim in (
        ("enc_to_latents.dim_out", encoder["enc_to_latents"]["dim_out"]),
        ("dec_from_latents.dim_in", decoder["dec_from_latents"]["dim_in"]),
    ):
        if dim != levels:
            raise ConfigError(f"{name} is {dim}, but regularizer.levels has {levels}")
    for name, trunk in (
        ("enc_transformer", encoder["enc_transformer"]),
        ("dec_transformer", decoder["dec_transformer"]),
    ):
        dim, head_dim = trunk.get("dim", 768), trunk.get("head_dim", 64)
        if dim % head_dim:
            raise ConfigError(f"{name}.dim {dim} is not a multiple of its head_dim {head_dim}")


REPEATED = ("dim", "channels_in", "channels_out", "patch_sizes", "dim_in", "dim_out", "max_sizes", "out_channels")


def _check_repeated(entries: Mapping[str, Any], expected: Mapping[str, Any], where: str = "") -> None:
    """Sizes that their config says in several places must agree with what was read from one of them."""
    for name, value in expected.items():
        found = entries.get(name, value)
        if isinstance(value, dict):
            _check_repeated(found, value, f"{where}{name}.")
        elif name in REPEATED and found != value:
            raise ConfigError(f"{where}{name} is {found}, but other entries make it {value}")


def _square(embedder: Mapping[str, Any]) -> int:
    sizes = embedder["patch_sizes"]
    if len(sizes) != 2 or sizes[0] != sizes[1]:
        raise ConfigError(f"patch_sizes is {sizes}: only square patches of two sides can be honoured")
    return sizes[0]


def _grid(table: Mapping[str, Any]) -> tuple[int, int]:
    sizes = table["max_sizes"]
    if len(sizes) != 2:
        raise ConfigError(f"max_sizes is {sizes}: expected rows and columns")
    return sizes[0], sizes[1]


def _positions(table: Mapping[str, Any]) -> Any:
    return {"sincos": "sincos", "learnable_sum": "axial"}[table.get("posemb_type", "sincos")]


def _lengths(dropout: Mapping[str, Any], tokens: int) -> UniformChoiceConfig:
    each = range(1, tokens + 1)
    choices = {
        "uniform": tuple(each),
        "pow2": power_lengths(tokens),
        "uniform_pow2": tuple(min(1 << (k - 1).bit_length(), tokens) for k in each),
    }
    return UniformChoiceConfig(choices[dropout.get("size_sampling_mode", "uniform")])


def _timesteps(noise: Mapping[str, Any]) -> UniformConfig | LogitNormalConfig | ModeConfig:
    if noise.get("ln", True):
        return LogitNormalConfig()
    return ModeConfig(noise["mode_scale"]) if noise.get("mode_scale") else UniformConfig()


def _autoencoder(
    vae: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], vae_config: Path
) -> AutoencoderKLConfig:
    described = vae_config.is_file()
    space = autoencoder_config(vae_config) if described else _autoencoder_from_shapes(shapes, vae_config.name)
    if vae.get("latent_channels", 16) != space.latent_channels:
        found, has = vae.get("latent_channels", 16), vae_config.name if described else "the file"
        raise ConfigError(f"vae.latent_channels is {found}, but the autoencoder of {has} has {space.latent_channels}")
    given = vae.get("scaling_factor")
    scale = given if given is not None else (space.scaling_factor if described else DIFFUSERS["scaling_factor"])
    check_value(scale, NUMBER, "vae.scaling_factor")
    if given is None and vae.get("hf_hub_path") and not described:
        raise ConfigError(
            f"vae.scaling_factor is that of {vae['hf_hub_path']!r}: write it there, or put that repository's "
            f"config.json beside the weights as {vae_config.name}"
        )
    return replace(space, scaling_factor=float(scale), shift_factor=0.0)


def _autoencoder_from_shapes(shapes: Mapping[str, tuple[int, ...]], vae_config: str) -> AutoencoderKLConfig:
    """The released autoencoders' family, with the widths and depths that the weights have."""
    down = re.compile(r"vae\.vae\.encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.conv1\.weight")
    found = {(int(m[1]), int(m[2])): shapes[name][0] for name in shapes if (m := down.fullmatch(name))}
    last = "vae.vae.encoder.conv_out.weight"
    if not found or last not in shapes:
        raise ConfigError("it holds no autoencoder weights (vae.vae.encoder...): get the whole model.safetensors")
    try:
        return AutoencoderKLConfig(
            latent_channels=shapes[last][0] // 2,
            block_out_channels=tuple(found[level, 0] for level in sorted({level for level, _ in found})),
            layers_per_block=1 + max(layer for _, layer in found),
            mid_block_add_attention=any(name.startswith("vae.vae.encoder.mid_block.attentions.") for name in shapes),
            use_quant_conv="vae.vae.quant_conv.weight" in shapes,
            use_post_quant_conv="vae.vae.post_quant_conv.weight" in shapes,
        )
    except ConfigError as error:
        raise ConfigError(
            f"{error}: an autoencoder of another kind than the released one needs a {vae_config} beside its weights"
        ) from None


# -- ours as theirs -------------------------------------------------------------------------------------------------


def write_config(config: TokenizerConfig) -> dict[str, Any]:
    """Our config in their form, from a template of the released one. ConfigError for what their code cannot do."""
    space = config.space
    if not isinstance(space, AutoencoderKLConfig):
        raise ConfigError("the official format has an autoencoder as its latent space; this tokenizer works on pixels")
    encoder, decoder = _only("encoder", config.encoder, RegisterViTConfig), official_decoder(config)
    quantizer = _only("quantizer", config.quantizer, FSQConfig)
    if not encoder.causal:
        raise ConfigError("the official format has causal registers; those of this encoder see each other")
    if decoder.absence != "mask":
        raise ConfigError(f"the official format shows absent tokens by a mask token; this decoder: {decoder.absence!r}")
    if encoder.interpolate_positions or decoder.interpolate_positions:
        raise ConfigError(
            "the official format stretches position tables otherwise: interpolate_positions must be false"
        )
    if space.shift_factor:
        raise ConfigError(f"the official format has no shift of latents; this autoencoder: {space.shift_factor}")
    entries = copy.deepcopy(template())
    entries["vae"] |= {"latent_channels": space.latent_channels, "scaling_factor": space.scaling_factor}
    entries["regularizer"]["levels"] = list(quantizer.levels)
    entries["pipeline"]["out_channels"] = space.latent_channels
    entries["flow_matching_noise_module"] |= _noise(decoder.timesteps)
    e, d = entries["encoder"]["module_dict"], entries["decoder"]["module_dict"]
    for modules, trunk in ((e, encoder), (d, decoder)):
        for module in modules.values():
            module.update({"dim": trunk.width} if "dim" in module else {})
    e["enc_patch_emb"] |= _patching(encoder)
    e["enc_posemb_module"] |= _table(encoder)
    e["enc_register_module"] |= {"n_min": encoder.num_registers, "n_max": encoder.num_registers}
    e["enc_transformer"] |= {"depth": encoder.depth, "head_dim": encoder.head_dim}
    e["enc_to_latents"]["dim_out"] = encoder.slot_dim
    d["dec_from_latents"]["dim_in"] = decoder.token_dim
    d["dec_registers_posemb_module"]["max_sizes"] = [decoder.num_tokens]
    d["dec_nested_dropout"]["size_sampling_mode"] = _sampling_mode(config)
    d["dec_latent_dropout"] |= {"dropout_prob": decoder.null_probability}
    if decoder.zero_null:
        d["dec_latent_dropout"]["_target_"] = d["dec_latent_dropout"]["_target_"].replace("Learned", "Zero")
        del d["dec_latent_dropout"]["dim"]
    d["dec_noise_patch_emb"] |= _patching(decoder)
    d["dec_patches_posemb_module"] |= _table(decoder)
    d["dec_time_embedder"]["max_timestep"] = decoder.max_timestep
    d["dec_transformer"] |= {
        "depth": decoder.depth,
        "head_dim": decoder.head_dim,
        "intermediate_layers": [decoder.feature_block - 1],
    }
    d["dec_to_patches"] |= {"channels_out": decoder.channels, "patch_sizes": [decoder.patch_size] * 2}
    return entries


Part = TypeVar("Part")


def _only(place: str, part: object, kind: type[Part]) -> Part:
    if not isinstance(part, kind):
        ours, theirs = type_name(type(part)), type_name(kind)
        raise ConfigError(f"the official format has a {theirs} as its {place}; this tokenizer: {ours}")
    return part


def official_decoder(config: TokenizerConfig) -> FlowDecoderConfig:
    """The decoder, of the only kind that the official format has; ConfigError for another."""
    return _only("decoder", config.decoder, FlowDecoderConfig)


def _patching(part: RegisterViTConfig | FlowDecoderConfig) -> dict[str, Any]:
    return {"channels_in": part.channels, "patch_sizes": [part.patch_size] * 2}


def _table(part: RegisterViTConfig | FlowDecoderConfig) -> dict[str, Any]:
    return {
        "max_sizes": list(part.grid),
        "posemb_type": {"sincos": "sincos", "axial": "learnable_sum"}[part.positions],
    }


def _sampling_mode(config: TokenizerConfig) -> str:
    for mode in ("pow2", "uniform", "uniform_pow2"):
        if config.lengths == _lengths({"size_sampling_mode": mode}, config.decoder.num_tokens):
            return mode
    logger.warning("the official format has no such lengths in training, written as uniform: %s", config.lengths)
    return "uniform"


def _noise(times: UniformConfig | LogitNormalConfig | ModeConfig) -> dict[str, Any]:
    if isinstance(times, LogitNormalConfig) and times != LogitNormalConfig():
        logger.warning("the official format has no such times in training, written as logit-normal(0, 1): %s", times)
    scale = times.scale if isinstance(times, ModeConfig) else 0.0
    return {"ln": isinstance(times, LogitNormalConfig), "mode_scale": scale}
