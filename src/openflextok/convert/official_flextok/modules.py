"""Their modules by name, and what each may say: literal tables, compared with, never resolved."""

from __future__ import annotations

from typing import Any

# What their classes may say: entry -> the values that this library honours, or ANY (a number that is taken, or a matter
# of training or of running). Entries that end in _key or _keys wire their modules together and say nothing else.
ANY = None
TRANSFORMER = {
    **dict.fromkeys(("dim", "depth", "head_dim", "drop", "drop_path_rate", "use_act_checkpoint", "weight_init_style")),
    **dict.fromkeys(("zero_init_query_proj", "intermediate_layers")),
    **dict.fromkeys(("qkv_bias", "proj_bias", "mlp_bias"), (False,)),
    **dict.fromkeys(("gated_mlp", "qk_norm"), (True,)),
    "mlp_ratio": (4.0,),
    "adaLN_expansion": (1, 2),
}
HEAD = {
    **dict.fromkeys(("dim", "weight_init_style", "dtype_override")),
    "use_mup_readout": (False,),
}
CLASSES: dict[str, dict[str, tuple[Any, ...] | None]] = {
    "PerSampleOp": {"per_sample_op": ANY},
    "PatchEmbedder": dict.fromkeys(("channels_in", "dim", "patch_sizes", "flatten_patches", "weight_init_style")),
    "PositionalEmbeddingAdder": {
        **dict.fromkeys(("dim", "max_sizes")),
        "posemb_type": ("sincos", "learnable_sum"),
        "posemb_scaling": ("absolute",),
    },
    "Registers1D": {
        **dict.fromkeys(("dim", "n_min", "n_max", "size_sampling_mode", "ordering_mode")),
        "n_eval": (None,),
    },
    "BlockWiseSequencePacker": {
        **dict.fromkeys(("pad_to_multiple", "per_subseq_embs", "compile_block_mask")),
        "mask_mode": ("causal_last", "full"),
    },
    "FlexTransformer": TRANSFORMER,
    "SequenceUnpacker": {},
    "LinearHead": HEAD | {"dim_out": ANY},
    "LinearLayer": dict.fromkeys(("dim_in", "dim", "weight_init_style", "dtype_override")),
    "MaskedNestedDropout": {"dim": ANY, "size_sampling_mode": ("uniform", "pow2", "uniform_pow2")},
    "LearnedNullCond": {**dict.fromkeys(("dim", "dropout_prob")), "replace_with_single_token": (False,)},
    "ZeroNullCond": {"dropout_prob": ANY},
    "TimestepEmbedder": {
        **dict.fromkeys(("dim", "max_timestep", "weight_init_style")),
        "frequency_embedding_size": (256,),
        "temb_as_tokens": (False,),
    },
    "ToPatchesLinearHead": HEAD | dict.fromkeys(("channels_out", "patch_sizes")),
    "StableDiffusionVAE": dict.fromkeys(
        ("latent_channels", "scaling_factor", "dtype_override", "hf_hub_path", "sample_posterior", "force_vae_encode")
        + ("frozen", "compile_encode_fn", "learnable_logvar", "logvar_init")
    ),
    "FSQ": dict.fromkeys(("levels", "drop_quant_p", "packed_call")),
    "MinRFNoiseModule": dict.fromkeys(("ln", "stratisfied", "mode_scale")),
    "MinRFPipeline": {"out_channels": ANY},
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
ALIGNMENT = ("SequenceUnpacker", "LinearHead", "MLPHead")  # what a decoder module with "repa" in its name may be
