"""The parity cases, and how far a tokenizer is from them."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import openflextok as oft
from openflextok.nets.flow_decoder import FlowDecoder
from openflextok.tokenizer import Tokenizer

GUIDANCE = {"g1": None, "cfg3": "cfg:3", "apg7.5": "apg:7.5"}  # by its name in the expected tensors
PARITY = Path(__file__).parents[2] / "data" / "parity"


class Case:
    """One reference case: its folder, inputs and expected tensors."""

    def __init__(self, name: str) -> None:
        self.folder = PARITY / name
        self.images = load_file(self.folder / "images.safetensors")["images"]
        self.expected = load_file(self.folder / "expected.safetensors")

    def load(self, **options: Any) -> Tokenizer:
        return oft.load(self.folder, **options)


@pytest.fixture(params=["case1", "case2"])
def case(request) -> Case:
    return Case(request.param)


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference, in units of the expected tensor's root mean square."""
    return ((found.float() - expected).abs().max() / expected.square().mean().sqrt()).item()


def hooked(blocks: Any, run: Any) -> list[Any]:
    """What each block returns while `run` is called."""
    outputs: list[Any] = []
    handles = [block.register_forward_hook(lambda m, i, o: outputs.append(o)) for block in blocks]
    run()
    for handle in handles:
        handle.remove()
    return outputs


@torch.inference_mode()
def space_errors(tokenizer: Tokenizer, case: Case) -> dict[str, float]:
    """Relative errors of the autoencoder, by the names of the expected tensors."""
    space, expected = tokenizer.space, case.expected
    posterior = space.posterior(case.images)
    found = {
        "vae.posterior_mean": posterior.mean_BCHW,
        "vae.posterior_std": posterior.std_BCHW,
        "vae.latents_mode": space.encode(case.images),
        "vae.latents_sample": space.encode(case.images, expected["vae.posterior_noise"]),
        "vae.reconst_from_mode": space.decode(expected["vae.latents_mode"]),
    }
    return {name: relative(tensor, expected[name]) for name, tensor in found.items()}


@torch.inference_mode()
def encoding_errors(tokenizer: Tokenizer, case: Case) -> dict[str, float]:
    """Relative errors from latents to quantised values."""
    encoder, expected, latents = tokenizer.encoder, case.expected, case.expected["vae.latents_mode"]
    found = {
        "enc.patches_in": encoder.patches(latents),
        "enc.registers_in": encoder.registers.expand(len(latents), -1, -1),
        "enc.z_mode": encoder(latents).values_BND,
        "enc.z_sample": encoder(expected["vae.latents_sample"]).values_BND,
    }
    found |= {
        f"enc.quants_{kind}": tokenizer.quantizer(found[f"enc.z_{kind}"]).values_BND for kind in ("mode", "sample")
    }
    patches = found["enc.patches_in"].shape[1]
    for i, output in enumerate(hooked(encoder.blocks, lambda: encoder(latents))):
        if f"enc.block{i}_patches" in expected:
            found[f"enc.block{i}_patches"] = output[:, :patches]
        found[f"enc.block{i}_registers"] = output[:, patches:]
    return {name: relative(tensor, expected[name]) for name, tensor in found.items()}


def registers_of(decoder: FlowDecoder, values: Tensor, lengths: Tensor) -> Tensor:
    from openflextok.nets.absence import FORMS, MaskToken

    keep = torch.arange(values.shape[1]) < lengths[:, None]
    embedded = decoder.embed_tokens(values)
    form = FORMS["mask"]
    assert isinstance(form, MaskToken)
    return form.fill(embedded, keep, decoder.mask_token, decoder.num_tokens)


@torch.inference_mode()
def velocity_errors(tokenizer: Tokenizer, case: Case) -> dict[str, float]:
    """Relative errors of the decoder's inside, and of its velocities at each kept length."""
    decoder, expected = tokenizer.decoder, case.expected
    assert isinstance(decoder, FlowDecoder)
    values = tokenizer.quantizer.lookup(expected["enc.tokens_mode"])
    batch, count = values.shape[:2]
    x = decoder.patches(expected["dec.noised"])
    grid = decoder.patches.grid(expected["dec.noised"])
    modulations = decoder.modulations(expected["dec.timesteps"])

    def velocity(registers: Tensor) -> Tensor:
        return decoder.velocity(x, registers, modulations, grid)[0]

    kept = {k: torch.full((batch,), n) for k, n in {"k1": 1, "k7": 7, "kall": count}.items()} | {
        "kmixed": expected["dec.keep_k_mixed"]
    }
    registers = {k: registers_of(decoder, values, lengths) for k, lengths in kept.items()}
    null = decoder.null_token.expand_as(registers["k7"])
    first_dropped = torch.cat([null[:1], registers["k7"][1:]])
    found = {
        "dec.quants": values,
        "dec.temb": decoder.time(expected["dec.timesteps"]),
        "dec.patches_in_k7": x,
        "dec.registers_in_k7": registers["k7"],
        "dec.velocity_uncond": velocity(null),
        "dec.velocity_drop_first_k7": velocity(first_dropped),
    } | {f"dec.velocity_cond_{k}": velocity(r) for k, r in registers.items()}
    for i, (output,) in enumerate(hooked(decoder.blocks, lambda: velocity(registers["k7"]))):
        halves = {"patches": output[:, : x.shape[1]], "registers": output[:, x.shape[1] :]}
        found |= {f"dec.block{i}_{k}_k7": v for k, v in halves.items() if f"dec.block{i}_{k}_k7" in expected}
    return {name: relative(tensor, expected[name]) for name, tensor in found.items()}


def decoding_errors(tokenizer: Tokenizer, case: Case) -> dict[str, float]:
    """Errors of whole decodes, relative to the image's root mean square: every guidance at 1, 8 and all tokens."""
    expected, noise = case.expected, case.expected["detok.noise"]
    tokens = tokenizer.encode(case.images)
    found = {}
    for k, length in {"k1": 1, "k8": 8, "kall": tokenizer.num_tokens}.items():
        for name, guidance in GUIDANCE.items():
            images = tokenizer.decode(tokens.truncate(length), steps=5, guidance=guidance, noise=noise)
            found[f"detok.images_{k}_{name}"] = images
    ragged = tokenizer.decode(tokens, lengths=expected["detok.lens_var"], steps=5, guidance="cfg:3", noise=noise)
    found["detok.images_var_cfg3"] = ragged
    return {name: relative(tensor, expected[name].clamp(-1, 1)) for name, tensor in found.items()}
