"""The official format: every variation of its config, both directions, and one clear line for what cannot be read."""

import copy
import json
import logging
from dataclasses import replace
from typing import Any

import pytest
import torch
from parity import PARITY, Case
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from variants import DECODER, ENCODER, PLAIN, VARIANTS

import openflextok as oft
from openflextok import checkpoint
from openflextok.config import AutoencoderKLConfig, LogitNormalConfig, TokenizerConfig, UniformChoiceConfig
from openflextok.convert import official_flextok
from openflextok.convert.formats import convert
from openflextok.storage import CheckpointError, WeightsFile
from openflextok.tokenizer import Tokenizer


def as_official(config: TokenizerConfig) -> TokenizerConfig:
    """What survives the official format: the guidance that goes with a decoder is the release's advice."""
    guidance = "apg:15" if config.decoder.depth <= 12 else "apg:7.5"
    return replace(config, decoder=replace(config.decoder, guidance=guidance))


@pytest.mark.parametrize("single_file", [False, True], ids=["folder", "file"])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variation_survives(name, single_file, randomise, tmp_path):
    config = as_official(VARIANTS[name])
    tokenizer = randomise(Tokenizer(config))
    if config.decoder.zero_null:
        torch.nn.init.zeros_(tokenizer.decoder.null_token)
    checkpoint.save(tokenizer, tmp_path / "ours")
    out = tmp_path / ("x.safetensors" if single_file else "x")
    convert(tmp_path / "ours", out, to="official")
    again = oft.load(out)
    assert again.config == config
    for key, value in tokenizer.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
    images = torch.rand(2, 3, *config.image_size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(again.encode(images).ids, tokenizer.encode(images).ids)
    ids = tokenizer.encode(images).ids[:, :3]
    assert torch.equal(again.decode(ids, steps=2, seed=1), tokenizer.decode(ids, steps=2, seed=1))


def test_depth_decides_the_advised_guidance(tmp_path, randomise):
    assert oft.load(PARITY / "case1").config.decoder.guidance == "apg:15"
    deep = replace(PLAIN, decoder=replace(DECODER, depth=18, guidance="apg:7.5"))
    checkpoint.save(randomise(Tokenizer(deep)), tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "x", to="official")
    assert oft.load(tmp_path / "x").config == deep


def test_the_released_autoencoder_needs_no_description(tmp_path):
    """Its widths are multiples of 32, and their number of groups is 32."""
    space = AutoencoderKLConfig(4, (32, 64), 1, scaling_factor=0.9)
    config = replace(PLAIN, space=space, encoder=ENCODER, decoder=DECODER)
    checkpoint.save(Tokenizer(config), tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "x", to="official")
    (tmp_path / "x" / "vae_config.json").unlink()
    assert oft.load(tmp_path / "x").config.space == space


# -- changing a checkpoint on disk --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A writable copy of case 1 as a Hub folder."""
    target = tmp_path / "official"
    target.mkdir()
    for name in ("config.json", "model.safetensors", "vae_config.json"):
        (target / name).write_bytes((PARITY / "case1" / name).read_bytes())
    return target


def change_config(folder, change):
    path = folder / "config.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def modules(data, part="decoder") -> dict[str, Any]:
    return data[part]["module_dict"]


def refused(folder, message) -> None:
    with pytest.raises(CheckpointError, match=message) as error:
        oft.load(folder)
    assert "\n" not in str(error.value)


def at(data, path: str) -> dict[str, Any]:
    """The entries of 'dec_transformer', or of a part such as 'vae'."""
    if path in data:
        return data[path]
    return next(modules(data, part)[path] for part in ("encoder", "decoder") if path in modules(data, part))


CONFIG_ERRORS = {  # message: change
    r"unknown module decoder.dec_upsampler; ": lambda d: modules(d).update(dec_upsampler={"_target_": "a.B"}),
    r"unknown module extra": lambda d: d.update(extra={"_target_": "os.system", "command": "true"}),
    r"module encoder.enc_unpacker is missing": lambda d: modules(d, "encoder").pop("enc_unpacker"),
    r"module regularizer is missing": lambda d: d.pop("regularizer"),
    r"the config lacks the entry 'n_max'": lambda d: at(d, "enc_register_module").pop("n_max"),
    r"dec_latent_dropout.read_write_key reads 'dec_registers_proj' of decoder.dec_registers_posemb_module.write_key: only": (
        lambda d: modules(d).update(dec_nested_dropout=modules(d).pop("dec_nested_dropout"))
    ),
    r"enc_seq_packer.input_list_read_keys reads 'enc_registers', .*: only that of encoder.enc_posemb_module.write_key, ": (
        lambda d: at(d, "enc_seq_packer")["input_list_read_keys"].reverse()
    ),
    r"enc_seq_packer.input_list_read_keys reads 'enc_registers' of encoder.enc_register_module": (
        lambda d: at(d, "enc_seq_packer").update(input_list_read_keys=["enc_registers"])
    ),
    r"enc_to_latents.read_key reads 'enc_registers' of encoder.enc_unpacker.inner_seq_write_keys\[0\]: only": (
        lambda d: at(d, "enc_unpacker")["inner_seq_write_keys"].reverse()
    ),
    r"dec_nested_dropout.read_write_key reads 'dec_registers_proj' of decoder.dec_from_latents.write_key: only": (
        lambda d: at(d, "dec_registers_posemb_module").update(write_key="unused")
    ),
    r"dec_from_latents.read_key reads 'enc_registers' of encoder.enc_to_latents.write_key: only that of regularizer": (
        lambda d: at(d, "dec_from_latents").update(read_key="enc_registers")
    ),
    r"dec_to_patches.adaLN_emb_read_key reads 'other' of no module": (
        lambda d: at(d, "dec_to_patches").update(adaLN_emb_read_key="other")
    ),
    r"vae.vae_latents_read_key reads 'vae_latents' of vae.vae_latents_write_key: only that of decoder.dec_channels": (
        lambda d: at(d, "vae").update(vae_latents_read_key="vae_latents")
    ),
    r"vae.scaling_factor is that of 'EPFL-VILAB/flextok_vae_c16': write it there": lambda d: at(d, "vae").update(
        scaling_factor=None, hf_hub_path="EPFL-VILAB/flextok_vae_c16"
    ),
    r" is \[(1, 1, 128, )?16(, 128)?\], but the config says \[(1, 1, 128, )?12(, 128)?\]: config and weights": lambda d: (
        at(d, "enc_register_module").update(n_max=12),
        at(d, "dec_registers_posemb_module").update(max_sizes=[12]),
    ),
    r"dec_transformer.blocks.2.adaLN_modulation.1.bias": lambda d: at(d, "dec_transformer").update(depth=3),
}
ENTRY_ERRORS = [  # module, entry, value, message
    ("dec_transformer", "_target_", "os.system", "is 'os.system': expected FlexTransformer"),
    ("dec_transformer", "dept", 2, "decoder.dec_transformer: unknown entry 'dept'; did you mean 'depth'"),
    ("dec_transformer", "qkv_bias", True, "dec_transformer.qkv_bias is True: only False can be honoured"),
    ("dec_transformer", "rope_forward_read_key", "rope", "rope_forward_read_key is 'rope': only null can be honoured"),
    ("dec_transformer", "adaLN_emb_read_key", None, "adaLN_emb_read_key is None: only the name of what it reads"),
    ("dec_transformer", "depth", "2", "dec_transformer.depth is '2': expected a whole number of 1 to 65,536"),
    ("dec_transformer", "dim", 0, "dec_transformer.dim is 0: expected a whole number"),
    ("dec_transformer", "adaLN_expansion", 1, r"per_subseq_embs and adaLN_expansion are \(True, 1\)"),
    ("dec_seq_packer", "per_subseq_embs", False, r"per_subseq_embs and adaLN_expansion are \(False, 2\)"),
    ("enc_seq_packer", "mask_mode", "full", "enc_seq_packer.mask_mode is 'full': only 'causal_last'"),
    ("dec_patches_posemb_module", "posemb_type", "learnable_prod", "only 'sincos' or 'learnable_sum'"),
    ("dec_patches_posemb_module", "posemb_scaling", "interpolate", "posemb_scaling is 'interpolate'"),
    ("dec_registers_posemb_module", "posemb_type", "sincos", "only one learnable_sum table"),
    (
        "dec_registers_posemb_module",
        "max_sizes",
        [12],
        r"max_sizes is \[12\]: only enc_register_module.n_max, 16, can be",
    ),
    ("enc_patch_emb", "patch_sizes", [2, 1], "only square patches"),
    ("enc_patch_emb", "patch_sizes", [2], "only square patches of two sides"),
    ("enc_patch_emb", "dim", 64, "encoder.module_dict.enc_patch_emb.dim is 64, but other entries make it 128"),
    ("enc_posemb_module", "dim", 64, "enc_posemb_module.dim is 64, but other entries"),
    ("dec_from_latents", "dim", 999, "dec_from_latents.dim is 999, but other entries"),
    ("dec_to_patches", "channels_out", 99, "dec_to_patches.channels_out is 99, but other entries make it 4"),
    ("dec_to_patches", "patch_sizes", [4, 4], "dec_to_patches.patch_sizes is"),
    ("pipeline", "out_channels", 99, "pipeline.out_channels is 99, but other entries make it 4"),
    ("vae", "latent_channels", 16, "vae.latent_channels is 16, but the autoencoder of vae_config.json has 4"),
    ("vae", "scaling_factor", float("nan"), "vae.scaling_factor is nan: expected a finite number"),
    ("dec_time_embedder", "max_timestep", 0, "max_timestep 0 is not a positive number"),
    ("enc_register_module", "n_max", 10**13, "n_max is 10000000000000: expected a whole number"),
    ("enc_register_module", "n_eval", 8, "n_eval: only null or n_max = 16"),
    ("regularizer", "levels", [8, 8], "enc_to_latents.dim_out is 6, but regularizer.levels has 2"),
    ("enc_transformer", "head_dim", 48, "enc_transformer.dim 128 is not a multiple of its head_dim 48"),
    ("vae", "scaling_factor", 0, "scaling_factor is 0.0: latents are divided by it"),
    ("encoder", "module_dict", None, "encoder.module_dict is None: expected modules by name"),
    ("regularizer", "levels", [8, 1.5], r"regularizer.levels is \[8, 1.5\]: expected a list of whole numbers"),
]


@pytest.mark.parametrize("module, entry, value, message", ENTRY_ERRORS)
def test_entries_that_cannot_be_honoured(module, entry, value, message, folder):
    change_config(folder, lambda d: at(d, module).update({entry: value}))
    refused(folder, message)


ACCEPTED = [  # what the released code takes for the same model
    ("enc_register_module", {"n_eval": 16, "extra_registers_dim": None}),
    ("dec_seq_packer", {"return_materialized_mask": True, "max_seq_len": None, "mask_mode": "full"}),
    ("dec_to_patches", {"proj_bias": True, "adaLN_bias": True}),
    ("regularizer", {"corrupt_tokens_p": 0.1, "apply_corrupt_tokens_p": 0.2, "drop_quant_p": 0.3}),
    ("dec_transformer", {"score_mod_read_key": None, "rope_forward_read_key": None, "intermediate_layers": []}),
    ("dec_nested_dropout", {"eval_keep_k_read_key": "eval_keep_k", "size_sampling_mode": "uniform_pow2"}),
    ("vae", {"sample_posterior": False, "dtype_override": "bf16", "learnable_logvar": False}),
]


@pytest.mark.parametrize("module, entries", ACCEPTED)
def test_what_changes_nothing_is_accepted(module, entries, folder):
    plain = oft.load(folder).fingerprint()
    change_config(folder, lambda d: at(d, module).update(entries))
    assert oft.load(folder).fingerprint() == plain
    change_config(folder, lambda d: at(d, "dec_seq_packer").pop("mask_mode"))
    assert oft.load(folder).fingerprint() == plain


def test_keys_may_have_any_names(folder):
    plain, text = oft.load(folder).fingerprint(), (folder / "config.json").read_text()
    for key in ("vae_latents", "enc_registers", "dec_patches", "dec_temb", "timesteps"):
        text = text.replace(f'"{key}"', f'"renamed {key}"')
    (folder / "config.json").write_text(text)
    assert oft.load(folder).fingerprint() == plain


def test_a_scaling_factor_that_is_not_given_is_diffusers(folder):
    change_config(folder, lambda d: at(d, "vae").update(scaling_factor=None))
    assert oft.load(folder).config.space.scaling_factor == 0.18215  # pyright: ignore


def test_the_smaller_position_table_decides_the_native_size(folder):
    change_config(folder, lambda d: at(d, "dec_patches_posemb_module").update(max_sizes=[6, 8]))
    weights = load_file(folder / "model.safetensors")
    name = "decoder.module_dict.dec_patches_posemb_module.posembs"
    weights[name] = weights[name][:, :, :6].contiguous()
    save_file(weights, folder / "model.safetensors")
    tokenizer = oft.load(folder)
    assert tokenizer.image_size == (96, 128)
    tokenizer.decode(torch.zeros(1, 2, dtype=torch.int64), steps=1)


def test_the_native_size_suits_both_kinds_of_patches(tmp_path, randomise):
    """5 x 5 patches of 2 latents hold 2 x 2 of 4, not three."""
    config = replace(PLAIN, encoder=replace(ENCODER, grid=(5, 5)), decoder=replace(DECODER, patch_size=4))
    checkpoint.save(randomise(Tokenizer(config)), tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "official", to="official")
    tokenizer = oft.load(tmp_path / "official")
    assert tokenizer.image_size == (16, 16)
    assert tokenizer.decode(tokenizer.encode(torch.zeros(1, 3, 16, 16)), steps=1).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("message", CONFIG_ERRORS)
def test_configs_that_cannot_be_honoured(message, folder):
    if "vae_c16" in message:
        (folder / "vae_config.json").unlink()
    change_config(folder, CONFIG_ERRORS[message])
    refused(folder, message)


def test_no_target_is_ever_imported(folder, tmp_path, monkeypatch):
    """A module that could be imported, with a class of the right name: only the name is compared."""
    flag = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(flag)!r}, 'w').close()\nclass FlexTransformer: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    change_config(folder, lambda d: modules(d)["dec_transformer"].update(_target_="evil.FlexTransformer"))
    oft.load(folder)
    assert not flag.exists()
    import evil  # noqa: F401  # pyright: ignore

    assert flag.exists(), "the module would have told"


WEIGHT_ERRORS = {
    r"1 weights are missing: encoder.module_dict.enc_register_module.registers": lambda w: w.pop(
        "encoder.module_dict.enc_register_module.registers"
    ),
    r"4 weights are unknown: a0, a1, a2: .*get both again": lambda w: w.update(
        {f"a{i}": torch.zeros(1) for i in range(4)}
    ),
    r"attn.wq.weight is \[64, 128\], but the config says \[128, 128\]": lambda w: w.update(
        {"decoder.module_dict.dec_transformer.blocks.0.attn.wq.weight": torch.zeros(64, 128)}
    ),
    r"holds no autoencoder weights .*: get the whole model.safetensors$": lambda w: [
        w.pop(name) for name in list(w) if name.startswith("vae.")
    ],
}


@pytest.mark.parametrize("message", WEIGHT_ERRORS)
def test_weights_that_do_not_fit(message, folder):
    if "autoencoder" in message:
        (folder / "vae_config.json").unlink()
    weights = load_file(folder / "model.safetensors")
    WEIGHT_ERRORS[message](weights)
    save_file(weights, folder / "model.safetensors")
    refused(folder, message)


def test_a_truncated_file(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100_000])
    refused(folder, "model.safetensors is damaged or cut off")
    refused(path, "model.safetensors is damaged or cut off")


def test_what_is_neither_format(tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    refused(tmp_path, "not a tokenizer of this library: format None, expected 'openflextok-1'")
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    refused(tmp_path / "a.safetensors", "a.safetensors has no FlexTok config in its header: give the folder")
    (tmp_path / "config.json").unlink()
    refused(tmp_path, "it has no config.json; an official file .* is given by its own name: .*a.safetensors")


def test_a_description_of_another_autoencoder(folder):
    data = json.loads((folder / "vae_config.json").read_text())
    (folder / "vae_config.json").write_text(json.dumps(data | {"block_out_channels": [32, 32, 32, 64]}))
    refused(folder, r"4 weights are missing: vae.vae.decoder.up_blocks.1.resnets.0.conv_shortcut.bias")
    (folder / "vae_config.json").write_text(json.dumps(data | {"latent_channels": 4, "block_out_channels": [64] * 4}))
    refused(folder, r"vae.vae.\S+ is .*, but the autoencoder's vae_config.json .* says")
    (folder / "vae_config.json").write_text(json.dumps(data | {"norm_num_groups": 7}))
    refused(folder, r"vae_config.json: block_out_channels 32 is not a multiple of norm_num_groups 7")
    (folder / "vae_config.json").write_text(json.dumps(data | {"_class_name": "AutoencoderDC"}))
    refused(folder, "_class_name is 'AutoencoderDC', expected 'AutoencoderKL'")


# -- headers, extras, licence -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sort_keys", [False, True])
def test_headers_in_yaml(sort_keys, tmp_path):
    """Entries may be YAML, with Python's None in it, instead of the text of a dict."""
    import yaml

    source = PARITY / "case1" / "model.safetensors"
    with safe_open(source, "pt") as file:
        metadata = dict(file.metadata())
    entries = official_flextok.parse_header(metadata, source)
    assert entries["vae"]["hf_hub_path"] is None
    assert entries["decoder"]["module_dict"]["dec_transformer"]["dim"] == 128
    as_yaml = {k: yaml.safe_dump(v, sort_keys=sort_keys).replace("null", "None") for k, v in entries.items()}
    save_file(load_file(source), tmp_path / "y.safetensors", metadata=as_yaml)
    (tmp_path / "vae_config.json").write_bytes((PARITY / "case1" / "vae_config.json").read_bytes())
    assert oft.load(tmp_path / "y.safetensors").fingerprint() == oft.load(PARITY / "case1").fingerprint()


def test_headers_as_other_tools_write_them(tmp_path):
    """Tuples for lists, and the "format" that tools add when they save a file again."""
    source = PARITY / "case1" / "model.safetensors"
    with safe_open(source, "pt") as file:
        metadata = dict(file.metadata())

    def tuples(value):
        if isinstance(value, dict):
            return {name: tuples(item) for name, item in value.items()}
        return tuple(map(tuples, value)) if isinstance(value, list | tuple) else value

    entries = official_flextok.parse_header(metadata, source)
    header = {name: str(tuples(value)) for name, value in entries.items()} | {"format": "pt"}
    assert "(" in header["decoder"]
    save_file(load_file(source), tmp_path / "y.safetensors", metadata=header)
    (tmp_path / "vae_config.json").write_bytes((PARITY / "case1" / "vae_config.json").read_bytes())
    assert oft.load(tmp_path / "y.safetensors").fingerprint() == oft.load(PARITY / "case1").fingerprint()


@pytest.mark.parametrize(
    ("part", "module", "entry", "value"),
    [
        ("decoder", "dec_transformer", "intermediate_layers", "x"),
        ("decoder", "dec_seq_packer", "per_sample_op", 3),
        ("encoder", "enc_posemb_module", "max_sizes", 8),
        ("encoder", "enc_transformer", "depth", "deep"),
    ],
)
def test_entries_of_another_type(part, module, entry, value, folder):
    config = json.loads((folder / "config.json").read_text())
    config[part]["module_dict"][module][entry] = value
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, r"config|entry|expected|is ")


def test_header_texts_are_never_run(tmp_path):
    flag = tmp_path / "ran"
    texts = {
        "encoder": f"__import__('pathlib').Path({str(flag)!r}).touch()",
        "decoder": f"!!python/object/apply:pathlib.Path.touch [{str(flag)}]",
        "vae": "{}",
    }
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", metadata=texts)
    refused(tmp_path / "x.safetensors", "header entry 'decoder' is neither a Python value nor YAML")
    assert not flag.exists()


def test_alignment_heads_are_left_out_and_kept_for_the_way_back(folder, tmp_path):
    head = "decoder.module_dict.dec_repa_head.mlp.0.weight"
    change_config(
        folder,
        lambda d: modules(d).update(
            dec_repa_head={"_target_": "flextok.model.postprocessors.heads.MLPHead", "dim": 128}
        ),
    )
    weights = load_file(folder / "model.safetensors") | {head: torch.randn(4, 128)}
    save_file(weights, folder / "model.safetensors")
    convert(folder, tmp_path / "ours")
    assert oft.load(tmp_path / "ours").fingerprint() == oft.load(folder).fingerprint()
    convert(tmp_path / "ours", tmp_path / "back", to="official")
    assert torch.equal(load_file(tmp_path / "back" / "model.safetensors")[head], weights[head])
    assert json.loads((tmp_path / "back" / "config.json").read_text()) == json.loads(
        (folder / "config.json").read_text()
    )


def test_without_any_alignment_module(folder):
    plain = oft.load(folder).fingerprint()
    change_config(
        folder,
        lambda d: (
            modules(d).pop("dec_repa_unpacker"),
            modules(d)["dec_transformer"].pop("intermediate_layers"),
            modules(d)["dec_transformer"].pop("intermediate_layer_write_key"),
        ),
    )
    assert oft.load(folder).fingerprint() == plain


def test_the_licence_is_said_once(folder, caplog):
    checkpoint._say_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        oft.load(folder)
        oft.load(folder)
    assert [r.message for r in caplog.records] == [f"FlexTok weights: {official_flextok.LICENCE}"]
    assert "research" in checkpoint.open_checkpoint(folder).about.licence


def test_what_their_code_could_not_run(tmp_path, make_config):
    for change, message in (
        ({}, "this tokenizer works on pixels"),
        ({"space": "kl"}, "has no shift of latents"),
        ({"space": "kl", "interpolate": True}, "interpolate_positions must be false"),
        ({"absence": "remove", "space": "kl"}, "absent tokens by a mask token"),
    ):
        checkpoint.save(Tokenizer(make_config(**change)), tmp_path / "ours")
        with pytest.raises(CheckpointError, match=message):
            convert(tmp_path / "ours", tmp_path / "x", to="official")
        assert not (tmp_path / "x").exists()
    with pytest.raises(ValueError, match="unknown format 'onnx': give one of openflextok, official"):
        convert(tmp_path / "ours", tmp_path / "x", to="onnx")


def test_training_settings_without_a_word_for_them(tmp_path, caplog):
    config = replace(
        PLAIN, decoder=replace(DECODER, timesteps=LogitNormalConfig(1.0)), lengths=UniformChoiceConfig((2, 5))
    )
    checkpoint.save(Tokenizer(config), tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "x", to="official")
    assert [r.message.split(",")[0] for r in caplog.records if "official" in r.message] == [
        "the official format has no such times in training",
        "the official format has no such lengths in training",
    ]


def test_from_a_folder_to_one_file(folder, tmp_path):
    """A file says what the whole is built from; a folder's config.json does not."""
    convert(folder, tmp_path / "one.safetensors", to="official")
    with safe_open(tmp_path / "one.safetensors", "pt") as file:
        assert file.metadata()["_target_"] == "flextok.flextok_wrapper.FlexTok"
    assert oft.load(tmp_path / "one.safetensors").fingerprint() == oft.load(folder).fingerprint()
    convert(tmp_path / "one.safetensors", tmp_path / "hub", to="official")
    assert "_target_" not in json.loads((tmp_path / "hub" / "config.json").read_text())


def test_nothing_of_the_user_is_replaced(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    convert(folder, tmp_path / "empty")
    convert(folder, tmp_path / "a.safetensors", to="official")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("precious")
    for taken in (folder, tmp_path / "empty", tmp_path / "a.safetensors", tmp_path / "thesis"):
        before = {path: path.read_bytes() for path in [taken, *taken.glob("*")] if path.is_file()}
        with pytest.raises(ValueError, match="is there already: give a new name, or remove it first"):
            convert(folder, taken, to="official")
        assert {path: path.read_bytes() for path in [taken, *taken.glob("*")] if path.is_file()} == before
    with pytest.raises(
        CheckpointError, match="vae_config.json describes another autoencoder: give b.safetensors a folder"
    ):
        convert(PARITY / "case2", tmp_path / "b.safetensors", to="official")
    assert oft.load(tmp_path / "a.safetensors").fingerprint() == oft.load(folder).fingerprint()


@pytest.mark.parametrize("text", ["{[1]: 2}", "-" * 20_000 + "1", "(" * 20_000])
def test_headers_that_defeat_the_parser(text, tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"encoder": text, "decoder": "{}", "vae": "{}"})
    refused(path, "header entry 'encoder' is neither|module (encoder|decoder|vae) is")
    save_file({"a": torch.zeros(1)}, path, metadata={"format": text})
    refused(path, "has no FlexTok config in its header")


# -- memory -------------------------------------------------------------------------------------------------------------


def test_dtype_and_views(case: Case, tmp_path):
    """What is stored as wanted stays a view of the file; a converted file is half as large in bf16 and loads the same."""
    half = case.load(dtype=torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    convert(case.folder, tmp_path / "half", dtype=torch.bfloat16)
    again = oft.load(tmp_path / "half", dtype=torch.bfloat16)
    assert all(torch.equal(a, b) for a, b in zip(half.parameters(), again.parameters(), strict=True))
    file = WeightsFile(case.folder / "model.safetensors")
    name = "encoder.module_dict.enc_register_module.registers"
    assert file.read(name).data_ptr() == file.read(name).data_ptr()
    joined = file.join([name, name])
    assert torch.equal(joined, torch.cat([file.read(name)] * 2))
    assert file.join([name], torch.float64).dtype == torch.float64


def test_mapped_weights_can_be_trained_without_touching_the_file(folder):
    before = (folder / "model.safetensors").read_bytes()
    tokenizer = oft.load(folder)
    with torch.no_grad():
        for parameter in tokenizer.parameters():
            parameter.add_(1)
    assert (folder / "model.safetensors").read_bytes() == before
    assert copy.deepcopy(tokenizer).fingerprint() == tokenizer.fingerprint()


def test_an_autoencoder_is_described_where_the_entries_do_not_say_all():
    released = AutoencoderKLConfig(16, scaling_factor=1.5)
    assert official_flextok.description_of(released, {"vae": {"scaling_factor": 1.5}}) == ""
    for space, entry in ((released, None), (replace(released, layers_per_block=1), 1.5)):
        text = official_flextok.description_of(space, {"vae": {"scaling_factor": entry}})
        assert json.loads(text)["scaling_factor"] == 1.5


def test_a_scaling_factor_of_the_description_survives(folder, tmp_path):
    change_config(folder, lambda d: at(d, "vae").update(scaling_factor=None))
    data = json.loads((folder / "vae_config.json").read_text())
    (folder / "vae_config.json").write_text(json.dumps(data | {"scaling_factor": 1.5}))
    convert(folder, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "back", to="official")
    assert oft.load(tmp_path / "back").config.space.scaling_factor == 1.5


def test_a_changed_config_is_not_overruled_by_the_kept_one(folder, tmp_path, caplog):
    convert(folder, tmp_path / "ours")
    path = tmp_path / "ours" / "config.json"
    data = json.loads(path.read_text())
    data["tokenizer"]["space"]["scaling_factor"] = 9.0
    path.write_text(json.dumps(data))
    convert(tmp_path / "ours", tmp_path / "back", to="official")
    assert "is not what was converted" in caplog.text
    assert oft.load(tmp_path / "back").config.space.scaling_factor == 9.0


def test_aliases_that_unfold_without_end(tmp_path):
    levels = [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    bomb = "\n".join(["a0: &a0 [x,x,x,x,x,x,x,x,x,x]", *levels])
    with pytest.raises(CheckpointError, match="neither a Python value nor YAML"):
        official_flextok.parse_header({"vae": bomb}, tmp_path)


def test_an_autoencoder_of_another_kind_needs_its_description(tmp_path):
    """Its widths, which the weights show, are no multiples of the released 32 groups."""
    checkpoint.save(Tokenizer(PLAIN), tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "x", to="official")
    (tmp_path / "x" / "vae_config.json").unlink()
    refused(tmp_path / "x", "8 is not a multiple of norm_num_groups 32: .* needs a vae_config.json beside its weights")
