"""Their configuration as data, and ours as theirs.

It names classes to be built. Here class names are compared with the tables of `modules` and never looked up or
imported; numbers are taken, and every entry that this library would not honour is refused by its name.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

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
    nearest,
    to_dict,
)
from openflextok.convert.diffusers_vae import autoencoder_config
from openflextok.convert.official_flextok.modules import ALIGNMENT, CLASSES, DECODER, ENCODER, PARTS
from openflextok.lengths import power_lengths

logger = logging.getLogger(__name__)


def read_config(entries: dict[str, Any], shapes: Mapping[str, tuple[int, ...]], vae_config: Path) -> TokenizerConfig:
    """Their config, and the shapes of their autoencoder's weights -> ours. ConfigError names what cannot be honoured."""
    parts = _check_modules({k: v for k, v in entries.items() if k != "_target_"}, PARTS, "")
    encoder = _check_modules(parts["encoder"].get("module_dict"), ENCODER, "encoder.module_dict.")
    decoder = _check_modules(parts["decoder"].get("module_dict"), DECODER, "decoder.module_dict.")
    _check_order(decoder, ("dec_registers_posemb_module", "dec_nested_dropout", "dec_latent_dropout"))
    _expect(encoder, "enc_seq_packer", "mask_mode", "causal_last")
    _expect(decoder, "dec_seq_packer", "mask_mode", "full")
    _expect(decoder, "dec_transformer", "adaLN_expansion", 2)
    vae, registers = parts["vae"], encoder["enc_register_module"]["n_max"]
    space = autoencoder_config(vae_config) if vae_config.is_file() else _autoencoder_from_shapes(shapes)
    if vae.get("latent_channels", 16) != space.latent_channels:
        raise ConfigError(
            f"vae.latent_channels is {vae.get('latent_channels')}, the weights have {space.latent_channels}"
        )
    if vae.get("scaling_factor") is None and not vae_config.is_file():
        raise ConfigError(
            f"vae.scaling_factor is not given: write it there, or into a {vae_config.name} beside the weights"
        )
    space = replace(space, scaling_factor=vae.get("scaling_factor") or space.scaling_factor, shift_factor=0.0)
    embedder, table = encoder["enc_patch_emb"], encoder["enc_posemb_module"]
    trunk, trunk2 = encoder["enc_transformer"], decoder["dec_transformer"]
    patch = _square(embedder, "encoder.enc_patch_emb")
    unit = patch * 2 ** (len(space.block_out_channels) - 1)
    levels = tuple(parts["regularizer"]["levels"])
    null, noise = decoder["dec_latent_dropout"], parts["flow_matching_noise_module"]
    layers = trunk2.get("intermediate_layers") or [min(2, trunk2["depth"]) - 1]
    config = TokenizerConfig(
        image_size=(table["max_sizes"][0] * unit, table["max_sizes"][1] * unit),
        space=space,
        encoder=RegisterViTConfig(
            channels=embedder["channels_in"],
            patch_size=patch,
            width=trunk["dim"],
            depth=trunk["depth"],
            grid=_grid(table, "encoder.enc_posemb_module"),
            num_registers=registers,
            slot_dim=encoder["enc_to_latents"]["dim_out"],
            head_dim=trunk.get("head_dim", 64),
            positions=_positions(table),
        ),
        quantizer=FSQConfig(levels),
        lengths=_lengths(decoder["dec_nested_dropout"], registers),
        decoder=FlowDecoderConfig(
            channels=decoder["dec_noise_patch_emb"]["channels_in"],
            patch_size=_square(decoder["dec_noise_patch_emb"], "decoder.dec_noise_patch_emb"),
            width=trunk2["dim"],
            depth=trunk2["depth"],
            grid=_grid(decoder["dec_patches_posemb_module"], "decoder.dec_patches_posemb_module"),
            num_tokens=decoder["dec_registers_posemb_module"]["max_sizes"][0],
            token_dim=decoder["dec_from_latents"]["dim_in"],
            head_dim=trunk2.get("head_dim", 64),
            positions=_positions(decoder["dec_patches_posemb_module"]),
            null_probability=null.get("dropout_prob", 0.0),
            zero_null=_class(null) == "ZeroNullCond",
            max_timestep=decoder["dec_time_embedder"].get("max_timestep", 1000.0),
            timesteps=_timesteps(noise),
            guidance="apg:15" if trunk2["depth"] <= 12 else "apg:7.5",  # as the release advises
            feature_block=layers[0] + 1,
        ),
    )
    return from_dict(TokenizerConfig, to_dict(config))  # which checks the type of every entry


def _class(module: Mapping[str, Any]) -> str:
    """The last word of a `_target_`: a name to compare, never to import."""
    return str(module.get("_target_", "")).rpartition(".")[2]


def _check_modules(modules: Any, known: Mapping[str, tuple[str, ...]], where: str) -> dict[str, dict[str, Any]]:
    if not isinstance(modules, dict):
        raise ConfigError(f"{where.rstrip('.')} is {modules!r}: expected modules by name")
    for name, module in modules.items():
        allowed = known.get(name, ALIGNMENT if known is DECODER and "repa" in name else None)
        if allowed is None:
            raise ConfigError(f"unknown module {where}{name}{nearest(name, known)}")
        if not isinstance(module, dict) or _class(module) not in allowed:
            found = module.get("_target_") if isinstance(module, dict) else module
            raise ConfigError(f"module {where}{name} is {found!r}: expected one of {', '.join(allowed)}")
        if name in known:
            _check_entries(module, CLASSES[_class(module)], f"{where}{name}")
    missing = [name for name in known if name not in modules]
    if missing:
        raise ConfigError(f"module {where}{missing[0]} is missing")
    return modules


def _check_entries(module: Mapping[str, Any], known: Mapping[str, tuple[Any, ...] | None], where: str) -> None:
    for name, value in module.items():
        if name in ("_target_", "_partial_") or re.search(r"_keys?$", name):
            continue
        if name not in known:
            raise ConfigError(f"{where}: unknown entry {name!r}{nearest(name, known)}")
        allowed = known[name]
        if allowed is not None and value not in allowed:
            raise ConfigError(f"{where}.{name} is {value!r}: only {' or '.join(map(repr, allowed))} can be honoured")


def _check_order(modules: dict[str, Any], names: Sequence[str]) -> None:
    """Modules run in the order in which they are listed; a file that was written with sorted names has lost it."""
    found = [name for name in modules if name in names]
    if found != list(names) and list(modules) != sorted(modules):
        raise ConfigError(f"modules run in the order {', '.join(found)}: only {', '.join(names)} can be honoured")


def _expect(modules: dict[str, dict[str, Any]], module: str, entry: str, value: Any) -> None:
    if modules[module].get(entry) != value:
        raise ConfigError(f"{module}.{entry} is {modules[module].get(entry)!r}: only {value!r} can be honoured")


def _square(embedder: Mapping[str, Any], where: str) -> int:
    height, width = embedder["patch_sizes"]
    if height != width:
        raise ConfigError(f"{where}.patch_sizes is {[height, width]}: only square patches can be honoured")
    return height


def _grid(table: Mapping[str, Any], where: str) -> tuple[int, int]:
    sizes = table["max_sizes"]
    if len(sizes) != 2:
        raise ConfigError(f"{where}.max_sizes is {sizes}: expected rows and columns")
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


def _autoencoder_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> AutoencoderKLConfig:
    """The released autoencoders' family, with the widths and depths that the weights have."""
    down = re.compile(r"vae\.vae\.encoder\.down_blocks\.(\d+)\.resnets\.(\d+)\.conv1\.weight")
    found = {(int(m[1]), int(m[2])): shapes[name][0] for name in shapes if (m := down.fullmatch(name))}
    last = "vae.vae.encoder.conv_out.weight"
    if not found or last not in shapes:
        raise ConfigError("it holds no autoencoder weights (vae.vae.encoder...): get the whole model.safetensors")
    return AutoencoderKLConfig(
        latent_channels=shapes[last][0] // 2,
        block_out_channels=tuple(found[level, 0] for level in sorted({level for level, _ in found})),
        layers_per_block=1 + max(layer for _, layer in found),
        mid_block_add_attention=any(name.startswith("vae.vae.encoder.mid_block.attentions.") for name in shapes),
        use_quant_conv="vae.vae.quant_conv.weight" in shapes,
        use_post_quant_conv="vae.vae.post_quant_conv.weight" in shapes,
    )


# -- ours as theirs -------------------------------------------------------------------------------------------------


def write_config(config: TokenizerConfig) -> dict[str, Any]:
    """Our config in their form, from a template of the released one. ConfigError for what their code cannot do."""
    space, encoder, decoder = config.space, config.encoder, config.decoder
    if not isinstance(space, AutoencoderKLConfig):
        raise ConfigError("the official format has an autoencoder as its latent space; this tokenizer works on pixels")
    if decoder.absence != "mask":
        raise ConfigError(f"the official format shows absent tokens by a mask token; this decoder: {decoder.absence!r}")
    if encoder.interpolate_positions or decoder.interpolate_positions:
        raise ConfigError(
            "the official format stretches position tables otherwise: interpolate_positions must be false"
        )
    if space.shift_factor:
        raise ConfigError(f"the official format has no shift of latents; this autoencoder: {space.shift_factor}")
    entries = json.loads((resources.files("openflextok.convert.official_flextok") / "template.json").read_text())
    entries["vae"] |= {"latent_channels": space.latent_channels, "scaling_factor": space.scaling_factor}
    entries["regularizer"]["levels"] = list(config.quantizer.levels)
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
