"""A class-conditional generator as a folder that `transformers.LlamaForCausalLM` loads.

A class is a token in front: [row of the class] -> rows of the image's tokens; `openflextok.json` says which row is what.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from openflextok.conditioning.labels import LabelPrefix, LabelSum
from openflextok.files import atomic_folder, write_atomic
from openflextok.generators.generator import Generator
from openflextok.storage import replaceable

ROWS = "openflextok.json"
LAYER = {  # theirs -> ours, within a layer; joined matrices below
    "input_layernorm": "norm_attention",
    "self_attn.o_proj": "attention.out",
    "post_attention_layernorm": "norm_mlp",
    "mlp.down_proj": "mlp.down",
}
JOINED = {
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "mlp.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
}


def llama_tensors(generator: Generator) -> dict[str, Tensor]:
    """All weights under transformers' names."""
    ours = {name: tensor.detach().cpu() for name, tensor in generator.gpt.state_dict().items()}
    theirs = {
        "model.embed_tokens.weight": _embeddings(generator).cpu(),
        "model.norm.weight": ours["norm.weight"],
        "lm_head.weight": ours["head.weight"],
    }
    for i in range(generator.config.gpt.depth):
        for their, our in LAYER.items():
            theirs[f"model.layers.{i}.{their}.weight"] = ours[f"blocks.{i}.{our}.weight"]
        for our, names in JOINED.items():
            parts = ours[f"blocks.{i}.{our}.weight"].chunk(len(names))
            theirs |= {f"model.layers.{i}.{name}.weight": part for name, part in zip(names, parts, strict=True)}
    return {name: tensor.contiguous() for name, tensor in theirs.items()}


def _embeddings(generator: Generator) -> Tensor:
    """The embedding table; a class vector that is added to the special row becomes the row of its class."""
    table = generator.gpt.embedding.weight.detach().clone()
    if isinstance(generator.conditioner, LabelSum):
        first, special = generator.vocabulary.codes, generator.vocabulary.special
        table[first:special] = table[special] + generator.conditioner.embedding.weight[:-1]
    return table


def llama_config(generator: Generator, dtype: torch.dtype) -> dict[str, Any]:
    """transformers' config.json."""
    gpt, vocabulary = generator.config.gpt, generator.vocabulary
    rope = {"rope_type": "default", "rope_theta": gpt.rope_theta}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": gpt.width,
        "intermediate_size": generator.gpt.get_submodule("blocks.0.mlp.down").in_features,
        "num_hidden_layers": gpt.depth,
        "num_attention_heads": gpt.width // gpt.head_dim,
        "num_key_value_heads": gpt.width // gpt.head_dim,
        "head_dim": gpt.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": 1 + gpt.num_tokens * len(vocabulary.digits),
        "rms_norm_eps": gpt.norm_eps,
        "rope_parameters": rope,
        "rope_theta": gpt.rope_theta,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "vocab_size": vocabulary.rows,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
        "dtype": str(dtype).removeprefix("torch."),
    }


def write_llama(generator: Generator, folder: Path, card: str) -> None:
    """The folder: config.json, model.safetensors, openflextok.json (which row is what) and the card.

    Errors: ValueError for a generator that reads captions: its prefix is vectors, not rows.
    """
    if not isinstance(generator.conditioner, (LabelPrefix, LabelSum)):
        raise ValueError(
            "this generator reads captions, whose vectors Llama's layout has no rows for: give one of labels"
        )
    vocabulary, weights = generator.vocabulary, llama_tensors(generator)
    rows = {
        "tokenizer": generator.config.tokenizer,
        "fingerprint": generator.config.fingerprint,
        "num_tokens": generator.num_tokens,
        "digits": list(vocabulary.digits),
        "classes": {name: vocabulary.codes + i for i, name in enumerate(generator.classes)},
        "no_class": vocabulary.special,
    }
    with atomic_folder(replaceable(folder)) as temporary:
        save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
        config = llama_config(generator, weights["lm_head.weight"].dtype)
        write_atomic(temporary / "config.json", json.dumps(config, indent=2) + "\n")
        write_atomic(temporary / ROWS, json.dumps(rows, indent=2) + "\n")
        write_atomic(temporary / "README.md", card)
