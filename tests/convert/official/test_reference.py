"""The plain reference equals the reference tensors; and the library equals it for all that an official config can vary."""

import json
import zlib

import pytest
import torch
from parity import GUIDANCE, Case, relative
from reference import Reference
from safetensors.torch import load_file
from variants import CORNERS, VARIANTS, drawn

import openflextok as oft
from openflextok import checkpoint
from openflextok.convert.formats import convert
from openflextok.tokenizer import Tokenizer

DRAWN = 8  # docs/log.md: 100
CONFIGS = VARIANTS | CORNERS | {f"drawn {seed}": drawn(seed) for seed in range(DRAWN)}


def reference_of(folder) -> Reference:
    return Reference(json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors"))


def test_the_reference_equals_the_reference_tensors(case: Case) -> None:
    reference, expected, sample = reference_of(case.folder), case.expected, 1
    z = reference.z(expected["vae.latents_mode"][sample])
    values, ids, margin = reference.quantise(z)
    assert relative(z, expected["enc.z_mode"][sample]) < 1e-5
    assert torch.equal(ids, expected["enc.tokens_mode"][sample])
    assert relative(margin, expected["enc.fsq_margin_mode"][sample]) < 1e-4
    noised, t = expected["dec.noised"][sample], expected["dec.timesteps"][sample].item()
    for name, kept, null in (
        ("cond_k1", 1, False),
        ("cond_k7", 7, False),
        ("cond_kall", len(ids), False),
        ("uncond", 7, True),
    ):
        velocity = reference.velocity(noised, values, kept, null, t)
        assert relative(velocity, expected[f"dec.velocity_{name}"][sample]) < 5e-5, name  # float32 sinusoids
    for name, guidance in GUIDANCE.items():
        latents = reference.decode(values, 8, expected["detok.noise"][sample], 5, guidance)
        assert relative(latents, expected[f"detok.latents_k8_{name}"][sample]) < 1e-4, name


@pytest.mark.parametrize("name", CONFIGS)
def test_the_library_equals_the_reference(name, randomise, tmp_path) -> None:
    config = CONFIGS[name]
    tokenizer = randomise(Tokenizer(config), seed=zlib.crc32(name.encode()))
    if config.decoder.zero_null:
        torch.nn.init.zeros_(tokenizer.decoder.null_token)
    checkpoint.save(tokenizer, tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "official", to="official")
    reference, tokenizer = reference_of(tmp_path / "official"), oft.load(tmp_path / "official")

    generator = torch.Generator().manual_seed(5)
    images = torch.rand(2, 3, *config.image_size, generator=generator) * 2 - 1
    latents = tokenizer.space.encode(images)
    found = tokenizer.encode(images).ids
    values, ids, margins = map(
        torch.stack, zip(*[reference.quantise(reference.z(sample)) for sample in latents], strict=True)
    )
    sure = (margins > 3e-4).all(-1)
    assert sure.float().mean() > 0.75
    assert torch.equal(found[sure], ids[sure])

    lengths, noise = torch.tensor([1, 4]), torch.randn(latents.shape, generator=generator)
    for guidance in GUIDANCE.values():
        pictures = tokenizer.decode(ids, lengths=lengths, steps=3, noise=noise, guidance=guidance)
        decoded = [
            reference.decode(value, length, start, 3, guidance)
            for value, length, start in zip(values, lengths.tolist(), noise, strict=True)
        ]
        expected = tokenizer.space.decode(torch.stack(decoded).float()).clamp(-1, 1)
        assert relative(pictures, expected) < 1e-3, guidance
