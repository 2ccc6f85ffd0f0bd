"""Their modules by name, and what each may say: literal tables that configs are compared with, never resolved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from openflextok.config import ConfigError, nearest
from openflextok.convert.official_flextok.wiring import OPTIONAL, wires_of

MOST = 2**16  # far beyond any size of a model
COUNT, NUMBER, SIZES = (
    f"a whole number of 1 to {MOST:,}",
    "a finite number",
    f"a list of whole numbers of 1 to {MOST:,}",
)
ANY = "anything"  # a matter of training or of running, or checked elsewhere
Rule = str | tuple[Any, ...]

# What their classes may say: entry -> the kind of its value, or the values that this library honours.
HEAD: dict[str, Rule] = {
    **dict.fromkeys(("weight_init_style", "dtype_override"), ANY),
    "dim": COUNT,
    "use_mup_readout": (False,),
    "proj_bias": (True,),
    "adaLN_bias": (True,),
}
CLASSES: dict[str, dict[str, Rule]] = {
    "PerSampleOp": {"per_sample_op": ANY},
    "PatchEmbedder": {
        **dict.fromkeys(("channels_in", "dim"), COUNT),
        "weight_init_style": ANY,
        "flatten_patches": (False,),
        "patch_sizes": SIZES,
    },
    "PositionalEmbeddingAdder": {
        "dim": COUNT,
        "max_sizes": SIZES,
        "posemb_type": ("sincos", "learnable_sum"),
        "posemb_scaling": ("absolute",),
    },
    "Registers1D": {
        **dict.fromkeys(("dim", "n_min", "n_max"), COUNT),
        **dict.fromkeys(("size_sampling_mode", "n_eval"), ANY),
        "ordering_mode": ("nested",),
        "extra_registers_dim": (None,),
    },
    "BlockWiseSequencePacker": {
        **dict.fromkeys(("pad_to_multiple", "max_seq_len", "compile_block_mask", "return_materialized_mask"), ANY),
        "per_subseq_embs": (True, False),
        "mask_mode": ("causal_last", "full"),
    },
    "FlexTransformer": {
        **dict.fromkeys(("dim", "depth", "head_dim"), COUNT),
        **dict.fromkeys(("drop", "drop_path_rate", "use_act_checkpoint", "weight_init_style"), ANY),
        **dict.fromkeys(("zero_init_query_proj", "intermediate_layers"), ANY),
        **dict.fromkeys(("qkv_bias", "proj_bias", "mlp_bias"), (False,)),
        **dict.fromkeys(("gated_mlp", "qk_norm"), (True,)),
        "mlp_ratio": (4.0,),
        "adaLN_expansion": (1, 2),
    },
    "SequenceUnpacker": {},
    "LinearHead": HEAD | {"dim_out": COUNT},
    "LinearLayer": {"dim_in": COUNT, "dim": COUNT, "weight_init_style": ANY, "dtype_override": ANY, "bias": (True,)},
    "MaskedNestedDropout": {"dim": COUNT, "size_sampling_mode": ("uniform", "pow2", "uniform_pow2")},
    "LearnedNullCond": {"dim": COUNT, "dropout_prob": NUMBER, "replace_with_single_token": (False,)},
    "ZeroNullCond": {"dropout_prob": NUMBER},
    "TimestepEmbedder": {
        "dim": COUNT,
        "max_timestep": NUMBER,
        "weight_init_style": ANY,
        "frequency_embedding_size": (256,),
        "temb_as_tokens": (False,),
    },
    "ToPatchesLinearHead": HEAD | {"channels_out": COUNT, "patch_sizes": SIZES},
    "StableDiffusionVAE": {
        **dict.fromkeys(("scaling_factor", "dtype_override", "hf_hub_path", "sample_posterior"), ANY),
        **dict.fromkeys(("force_vae_encode", "frozen", "compile_encode_fn", "learnable_logvar", "logvar_init"), ANY),
        "latent_channels": COUNT,
    },
    "FSQ": {
        **dict.fromkeys(("drop_quant_p", "packed_call", "corrupt_tokens_p", "min_corrupt_tokens_p"), ANY),
        "apply_corrupt_tokens_p": ANY,
        "levels": SIZES,
    },
    "MinRFNoiseModule": {"ln": (True, False), "stratisfied": ANY, "mode_scale": NUMBER},
    "MinRFPipeline": {"out_channels": COUNT},
    "SequentialModuleDictWrapper": {"module_dict": ANY},
}
PARTS = {
    "vae": ("StableDiffusionVAE",),
    "encoder": ("SequentialModuleDictWrapper",),
    "decoder": ("SequentialModuleDictWrapper",),
    "regularizer": ("FSQ",),
    "flow_matching_noise_module": ("MinRFNoiseModule",),
    "pipeline": ("MinRFPipeline",),
}
ENCODER = {
    "enc_channels_to_last": ("PerSampleOp",),
    "enc_patch_emb": ("PatchEmbedder",),
    "enc_posemb_module": ("PositionalEmbeddingAdder",),
    "enc_register_module": ("Registers1D",),
    "enc_seq_packer": ("BlockWiseSequencePacker",),
    "enc_transformer": ("FlexTransformer",),
    "enc_unpacker": ("SequenceUnpacker",),
    "enc_to_latents": ("LinearHead",),
}
DECODER = {
    "dec_from_latents": ("LinearLayer",),
    "dec_registers_posemb_module": ("PositionalEmbeddingAdder",),
    "dec_nested_dropout": ("MaskedNestedDropout",),
    "dec_latent_dropout": ("LearnedNullCond", "ZeroNullCond"),
    "dec_noise_channels_to_last": ("PerSampleOp",),
    "dec_noise_patch_emb": ("PatchEmbedder",),
    "dec_patches_posemb_module": ("PositionalEmbeddingAdder",),
    "dec_seq_packer": ("BlockWiseSequencePacker",),
    "dec_time_embedder": ("TimestepEmbedder",),
    "dec_transformer": ("FlexTransformer",),
    "dec_unpacker": ("SequenceUnpacker",),
    "dec_to_patches": ("ToPatchesLinearHead",),
    "dec_channels_to_first": ("PerSampleOp",),
}


def class_name(module: Mapping[str, Any]) -> str:
    """The last word of a `_target_`: a name to compare, never to import."""
    return str(module.get("_target_", "")).rpartition(".")[2]


def check_modules(
    modules: Any, known: Mapping[str, tuple[str, ...]], template: Mapping[str, Any], where: str
) -> dict[str, dict[str, Any]]:
    """Every module has a known name, class and entries."""
    if not isinstance(modules, dict):
        raise ConfigError(f"{where}module_dict is {modules!r}: expected modules by name")
    for name, module in modules.items():
        if name not in known:
            raise ConfigError(f"unknown module {where}{name}{nearest(name, known)}")
        if not isinstance(module, dict) or class_name(module) not in known[name]:
            found = module.get("_target_") if isinstance(module, dict) else module
            raise ConfigError(f"module {where}{name} is {found!r}: expected {' or '.join(known[name])}")
        _check_entries(module, CLASSES[class_name(module)], template[name], f"{where}{name}")
    missing = [name for name in known if name not in modules]
    if missing:
        raise ConfigError(f"module {where}{missing[0]} is missing: expected {', '.join(known)}")
    return modules


def _check_entries(
    module: Mapping[str, Any], known: Mapping[str, Rule], template: Mapping[str, Any], where: str
) -> None:
    wires = wires_of({**module, **template})
    for name in sorted(wires):
        if (module.get(name) is None) != (template.get(name) is None):
            expected = "null" if template.get(name) is None else "the name of what it reads or writes"
            raise ConfigError(f"{where}.{name} is {module.get(name)!r}: only {expected} can be honoured")
    for name in module.keys() - wires - OPTIONAL - {"_target_", "_partial_"}:
        if name not in known:
            raise ConfigError(f"{where}: unknown entry {name!r}{nearest(name, known)}")
        check_value(module[name], known[name], f"{where}.{name}")


def check_value(value: Any, rule: Rule, where: str) -> None:
    if isinstance(rule, tuple):
        if value not in rule:
            raise ConfigError(f"{where} is {value!r}: only {' or '.join(map(repr, rule))} can be honoured")
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    good = {
        COUNT: _is_count(value),
        NUMBER: number and math.isfinite(value),
        SIZES: isinstance(value, list | tuple) and bool(value) and all(map(_is_count, value)),
        ANY: True,
    }
    if not good[rule]:
        raise ConfigError(f"{where} is {value!r}: expected {rule}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST
