"""Their modules by name, and what each may say: literal tables, compared with, never resolved."""

from __future__ import annotations

from typing import Any

COUNT, NUMBER, SIZES = "a whole number of at least 1", "a finite number", "a list of whole numbers of at least 1"
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
        **dict.fromkeys(("flatten_patches", "weight_init_style"), ANY),
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
# Entries that end in _key or _keys wire the modules together. These may be there or not; the others as in the template.
OPTIONAL_WIRES = {
    "eval_keep_k_read_key", "train_keep_k_write_key", "eval_drop_flag_read_key", "noise_write_key", "noise_read_key",
    "vae_kl_loss_write_key", "intermediate_layer_write_key", "target_sizes_read_key", "n_patches_write_key",
}  # fmt: skip
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
