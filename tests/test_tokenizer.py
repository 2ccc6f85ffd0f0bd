"""The public face of a tokenizer: encode, decode, and the borders."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from openflextok.config import FSQConfig
from openflextok.flow.guidance import APG, CFG
from openflextok.flow.sampler import Euler, Heun
from openflextok.pixels import to_pil
from openflextok.quantizers.fsq import FSQ
from openflextok.tokenizer import Tokenizer
from openflextok.types import Draws, Tokens

FAST = {"steps": 2}


@pytest.fixture
def uint8(images) -> Tensor:
    """(5, 16, 16, 3)"""
    return ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)


@pytest.fixture
def one(make_tokenizer) -> Tokenizer:
    return make_tokenizer()


def as_pil(uint8: Tensor) -> list[Image.Image]:
    return [Image.fromarray(image.numpy()) for image in uint8]


# -- encode ---------------------------------------------------------------------------------------------------------


def test_pil_uint8_and_float_agree(tokenizer, uint8):
    floats = uint8.permute(0, 3, 1, 2).float() / 127.5 - 1
    expected = tokenizer.encode(uint8)
    assert expected.ids.shape == (5, 8) and expected.ids.dtype == torch.int64 and expected.lengths.tolist() == [8] * 5
    assert len(expected.ids.unique()) > 10
    for form in (
        as_pil(uint8),
        tuple(as_pil(uint8)),
        floats,
        floats.double(),
        floats.to(memory_format=torch.channels_last),
    ):
        assert torch.equal(tokenizer.encode(form).ids, expected.ids)
    assert torch.equal(tokenizer.encode(as_pil(uint8)[0]).ids, expected.ids[:1])


def test_a_path_is_one_picture_and_a_list_of_ids_are_ids(one, uint8, tmp_path):
    picture, path = as_pil(uint8)[0], tmp_path / "a.png"
    picture.save(path)
    tokens = one.encode(picture)
    for form in (path, str(path), [path]):
        assert torch.equal(one.encode(form).ids, tokens.ids)
    with pytest.raises(ValueError, match="nowhere.png: no such file"):
        one.encode("nowhere.png")
    assert torch.equal(one.decode(tokens.ids.tolist(), **FAST), one.decode(tokens, **FAST))


def test_arrays_and_bytes_are_pictures_too(one, uint8, images, tmp_path):
    expected = one.encode(uint8).ids
    for form in (uint8.numpy(), list(uint8.numpy())):
        assert torch.equal(one.encode(form).ids, expected)
    for form in (images.numpy(), images.numpy().astype(np.float64)):
        assert torch.equal(one.encode(form).ids, one.encode(images).ids)
    as_pil(uint8)[0].save(tmp_path / "one.png")
    assert torch.equal(one.encode((tmp_path / "one.png").read_bytes()).ids, expected[:1])
    grey, wide = np.full((16, 16), 9, np.uint8), np.full((20, 40, 4), 255, np.uint8)
    same = [Image.new("L", (16, 16), 9), Image.new("RGB", (40, 20), "white")]
    assert torch.equal(one.encode([grey, wide]).ids, one.encode(same).ids)


def test_lists_of_ids_may_differ_in_length(one, images):
    tokens = one.encode(images)
    lengths = [1, 8, 3, 5, 2]
    rows = [row[:length].tolist() for row, length in zip(tokens.ids, lengths, strict=True)]
    assert torch.equal(one.decode(rows, **FAST), one.decode(tokens, lengths=lengths, **FAST))


def test_values_are_those_of_the_ids(tokenizer, images):
    tokens = tokenizer.encode(images)
    assert torch.equal(tokens.values_BND, tokenizer.quantizer.lookup(tokens.ids))
    assert torch.equal(tokenizer.decode(tokens, **FAST), tokenizer.decode(tokens.ids, **FAST))


def test_encode_is_the_chain_of_its_parts(kl_tokenizer, images):
    t, slots = kl_tokenizer, []
    t.quantizer.register_forward_pre_hook(lambda module, inputs: slots.append(inputs[0]))
    with torch.no_grad():
        expected = t.quantizer(t.encoder(t.space.encode(images)).values_BND).ids_BN
    assert torch.equal(t.encode(images).ids, expected)
    assert torch.equal(slots[0], slots[1]) and slots[1].dtype == torch.float32
    assert torch.equal(t.encode(images).ids, expected)  # and again: the posterior's mean, not a sample
    noise = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        sampled = t.quantizer(t.encoder(t.space.encode(images, noise)).values_BND).ids_BN
    assert torch.equal(t.encode(images, posterior=noise).ids, sampled) and not torch.equal(sampled, expected)


def test_exif_orientation_is_honoured(one, tmp_path, uint8):
    upright = as_pil(uint8)[0]
    turned = upright.transpose(Image.Transpose.ROTATE_90)  # what a camera held on its side stores
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 270 degrees, against the clock, to show"
    turned.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as picture:
        found = one.encode([picture]).ids
    assert torch.equal(found, one.encode([upright]).ids)
    assert not torch.equal(found, one.encode([turned]).ids)


def test_pictures_of_any_size_are_cropped_to_the_native_one(one):
    """A wide picture: its middle square, the rest cut away."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (16, 48, 3), dtype=np.uint8)
    middle = torch.from_numpy(pixels[None, :, 16:32].copy())
    assert torch.equal(one.encode(Image.fromarray(pixels)).ids, one.encode(middle).ids)
    mixed = [Image.new("RGB", (1, 1), "red"), Image.new("L", (300, 20), 9), Image.new("RGBA", (17, 40), (0, 0, 0, 0))]
    assert one.encode(mixed).ids.shape == (3, 8)


def test_the_callers_images_are_not_changed(one, uint8, images):
    pictures, before = as_pil(uint8), uint8.clone()
    copy = images.clone()
    for form in (uint8, pictures, copy):
        one.encode(form)
    assert torch.equal(uint8, before) and torch.equal(copy, images)
    assert all(torch.equal(torch.from_numpy(np.array(p)), b) for p, b in zip(pictures, before, strict=True))


@pytest.mark.parametrize(
    "bad, message",
    [
        (torch.full((1, 3, 16, 16), math.nan), r"float images span nan..nan: give finite values in \[-1, 1\]"),
        (torch.full((1, 3, 16, 16), math.inf), r"span inf..inf: give finite values in \[-1, 1\]"),
        (torch.full((1, 3, 16, 16), 255.0), r"span 255..255: give finite values in \[-1, 1\]"),
        (
            torch.zeros(3, 16, 16),
            r"shape \(3, 16, 16\): give PIL images, uint8 \(B, H, W, 3\), or floats \(B, 3, H, W\)",
        ),
        (torch.zeros(1, 1, 16, 16), r"shape \(1, 1, 16, 16\): give PIL"),
        (torch.zeros(1, 16, 16, 3), r"shape \(1, 16, 16, 3\): give PIL"),
        (torch.zeros(1, 3, 16, 16, dtype=torch.int64), "images are torch.int64 .*give PIL"),
        (
            torch.zeros(1, 3, 16, 16, dtype=torch.uint8),
            r"uint8 images have shape \(1, 3, 16, 16\): give \(B, H, W, 3\)",
        ),
        (torch.zeros(16, 16, 3, dtype=torch.uint8), r"uint8 images have shape \(16, 16, 3\): give"),
        (torch.zeros(1, 3, 18, 16), "cannot take 18x16 images: height and width must be multiples of 4 up to 16x16"),
        (torch.zeros(1, 3, 16, 20), "cannot take 16x20 images: height and width must be multiples of 4 up to 16x16"),
        (torch.zeros(1, 3, 0, 16), "cannot take 0x16 images: height and width must be multiples of 4"),
        (torch.zeros(0, 3, 16, 16), "no images given: encode needs at least one"),
        (torch.zeros(0, 16, 16, 3, dtype=torch.uint8), "no images given"),
        ([], "no images given"),
        ([None], "cannot be read as a picture"),
        (np.zeros((16, 16, 3), np.uint8), r"uint8 images have shape \(16, 16, 3\): give \(B, H, W, 3\)"),
        (np.zeros((1, 16, 16, 3)), r"float64 of shape \(1, 16, 16, 3\): give PIL"),
        ([np.zeros((3, 16, 16), np.uint8)], r"an array of uint8 \(3, 16, 16\); give uint8 \(H, W, 3\)"),
    ],
)
def test_bad_images_are_refused_in_one_line(bad, message, one):
    with pytest.raises(ValueError, match=message) as error:
        one.encode(bad)
    assert "\n" not in str(error.value)


def test_one_bad_value_in_a_batch_is_noticed(one, images):
    images[3, 1, 5, 6] = math.nan
    with pytest.raises(ValueError, match="finite values"):
        one.encode(images)


def test_values_a_rounding_error_outside_are_taken(one, images):
    assert one.encode(images * 0 + 1.0005).ids.shape == (5, 8)


# -- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["pixels", "kl"])
@pytest.mark.parametrize("size", [(8, 16), (16, 4), (4, 12)])
def test_images_that_are_not_square(space, size, make_tokenizer):
    t = make_tokenizer(space)
    tokens = t.encode(torch.zeros(2, 3, *size))
    assert t.decode(tokens, image_size=size, **FAST).shape == (2, 3, *size)
    assert t.decode(tokens, **FAST).shape == (2, 3, 16, 16)


def test_larger_images_need_a_table_that_stretches(make_tokenizer):
    t = make_tokenizer(interpolate=True)
    assert t.decode(t.encode(torch.zeros(1, 3, 24, 32)), image_size=(24, 32), **FAST).shape == (1, 3, 24, 32)
    with pytest.raises(ValueError, match="cannot take 18x16 images: height and width must be multiples of 4$"):
        t.encode(torch.zeros(1, 3, 18, 16))


def test_decoding_to_an_impossible_size(one):
    with pytest.raises(ValueError, match="cannot take 18x16 images"):
        one.decode(torch.zeros(1, 2, dtype=torch.int64), image_size=(18, 16))


# -- decode ---------------------------------------------------------------------------------------------------------


def test_decode_is_in_range_deterministic_and_not_constant(tokenizer, images):
    ids = tokenizer.encode(images).ids
    first, second = (tokenizer.decode(ids, seed=3, **FAST) for _ in range(2))
    assert torch.equal(first, second) and first.shape == (5, 3, 16, 16) and first.dtype == torch.float32
    assert -1 <= float(first.min()) < float(first.max()) <= 1
    assert len(to_pil(first)) == 5
    assert not torch.allclose(first, tokenizer.decode(ids, seed=4, **FAST), atol=0.01)


def test_the_global_random_state_is_neither_used_nor_changed(tokenizer, images):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = tokenizer.decode(tokenizer.encode(images), **FAST)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(tokenizer.decode(tokenizer.encode(images), **FAST), first)


def test_models_may_learn_from_what_comes_out(one, images):
    tokens = one.encode(images)
    rebuilt = one.decode(tokens, **FAST)
    layers = nn.Embedding(64_000, 4), nn.Linear(6, 4), nn.Conv2d(3, 4, 3)
    loss = layers[0](tokens.ids).mean() + layers[1](tokens.values_BND).mean() + layers[2](rebuilt).mean()
    loss.backward()
    assert all(layer.weight.grad is not None for layer in layers)
    assert not tokens.values_BND.requires_grad and not rebuilt.requires_grad


def test_arrays_may_be_mirrored(one, uint8, images):
    array = uint8.numpy()
    assert torch.equal(one.encode(array[:, :, ::-1]).ids, one.encode(uint8.flip(2)).ids)
    assert torch.equal(one.encode(array[..., ::-1]).ids, one.encode(uint8.flip(3)).ids)
    assert torch.equal(one.encode(images.numpy()[..., ::-1]).ids, one.encode(images.flip(3)).ids)
    ids = one.encode(images).ids
    assert torch.equal(one.decode(ids.numpy()[::-1], **FAST), one.decode(ids.flip(0), **FAST))


def test_seeds_are_per_sample(tokenizer, images):
    ids = tokenizer.encode(images).ids
    seeds = [5, 0, 7, 5, 123456789012]
    together = tokenizer.decode(ids, seed=seeds, **FAST)
    for form in (tuple(seeds), np.array(seeds), torch.tensor(seeds)):
        assert torch.equal(tokenizer.decode(ids, seed=form, **FAST), together)
    for i, seed in enumerate(seeds):
        alone = tokenizer.decode(ids[i : i + 1], seed=seed, **FAST)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-5)
    same = tokenizer.decode(ids[:1].expand(2, -1), seed=9, **FAST)
    torch.testing.assert_close(same[0], same[1], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="got 2 seeds for 5 images: give one int, or one per image"):
        tokenizer.decode(ids, seed=[1, 2])


@pytest.mark.parametrize("space, shape", [("pixels", (3, 16, 16)), ("kl", (4, 8, 8))])
def test_noise_can_be_given(space, shape, make_tokenizer, images):
    t = make_tokenizer(space)
    ids = t.encode(images).ids
    noise = Draws([1, 2, 3, 4, 5]).normal(*shape)
    before = noise.clone()
    found = t.decode(ids, noise=noise, **FAST)
    assert torch.equal(found, t.decode(ids, seed=[1, 2, 3, 4, 5], **FAST))
    assert torch.equal(noise, before)
    assert not torch.allclose(found, t.decode(ids, noise=-noise, **FAST), atol=0.01)
    with pytest.raises(ValueError, match=rf"noise has shape \(4, .*: give \(5, {shape[0]}, {shape[1]}, {shape[2]}\)"):
        t.decode(ids, noise=noise[:4])


def test_a_prefix_can_be_asked_for_in_every_form(tokenizer, images):
    tokens = tokenizer.encode(images)
    expected = tokenizer.decode(tokens.truncate(3), **FAST)
    assert not torch.allclose(expected, tokenizer.decode(tokens, **FAST), atol=0.01)
    for found in (
        tokenizer.decode(tokens.ids[:, :3], **FAST),
        tokenizer.decode(tokens.ids, lengths=3, **FAST),
        tokenizer.decode(tokens, lengths=[3] * 5, **FAST),
        tokenizer.decode(tokens.ids.int(), lengths=torch.tensor([3] * 5), **FAST),
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_forms_of_guidance_agree(tokenizer, images):
    ids = tokenizer.encode(images).ids
    for forms in (("cfg:3", CFG(3.0)), ("apg:2", APG(2.0), 2, 2.0), (7.5, "default")):
        first, *others = (tokenizer.decode(ids, guidance=form, **FAST) for form in forms)
        assert all(torch.equal(first, other) for other in others)
    plain, guided = tokenizer.decode(ids, guidance=None, **FAST), tokenizer.decode(ids, guidance=3, **FAST)
    assert not torch.allclose(plain, guided, atol=0.01)
    torch.testing.assert_close(tokenizer.decode(ids, guidance="cfg:1", **FAST), plain, rtol=0, atol=1e-5)
    assert torch.equal(tokenizer.decode(ids, **FAST), tokenizer.decode(ids, guidance="apg:7.5", **FAST))


def test_the_solver_is_a_run_time_choice(one, images):
    """With one step Heun is Euler; with two it is not."""
    ids = one.encode(images).ids
    one_step = [one.decode(ids, steps=1, solver=solver) for solver in (Euler(), Heun())]
    two_steps = [one.decode(ids, steps=2, solver=solver) for solver in (Euler(), Heun())]
    assert torch.equal(*one_step) and not torch.allclose(*two_steps, atol=0.01)


@pytest.mark.parametrize(
    "tokens, options, message",
    [
        (torch.tensor([[0, 64_000]]), {}, r"id 64000 is not a token of this tokenizer \(0 <= id < 64000\)"),
        (torch.tensor([[-1, 5]]), {}, r"id -1 is not a token of this tokenizer \(0 <= id < 64000\)"),
        (torch.zeros(1, 0, dtype=torch.int64), {}, r"cannot keep 0 tokens: this tokenizer has 8 \(1 <= length <= 8\)"),
        (torch.zeros(1, 9, dtype=torch.int64), {}, r"cannot keep 9 tokens: this tokenizer has 8 \(1 <= length <= 8\)"),
        (torch.zeros(1, 8, dtype=torch.int64), {"lengths": 9}, "cannot keep 9 tokens: this tokenizer has 8"),
        (torch.zeros(1, 8, dtype=torch.int64), {"lengths": 0}, "cannot keep 0 tokens: this tokenizer has 8"),
        (torch.zeros(2, 8, dtype=torch.int64), {"lengths": [1]}, r"lengths of shape \(1,\) for 2 images"),
        (torch.zeros(8, dtype=torch.int64), {}, r"ids are torch.int64 of shape \(8,\): give int64 \(B, n\)"),
        (torch.zeros(0, 8, dtype=torch.int64), {}, r"shape \(0, 8\): give int64"),
        ([1, 2, 3], {}, r"no list of ids for each image: give \[\[1, 2, 3\]"),
        ([], {}, "no list of ids for each image"),
        ([[1], []], {}, "cannot keep 0 tokens"),
        ([[1, 2], [0.5]], {}, "ids are torch.float32"),
        ([[1, 2], [64_000]], {}, "id 64000 is not a token"),
        (torch.zeros(1, 8, dtype=torch.int64), {"seed": 1.5}, "seed 1.5 is not a whole number"),
        (torch.zeros(1, 8, dtype=torch.int64), {"image_size": (32,)}, "cannot take 32 images: height and width"),
        (torch.zeros(1, 8), {}, "ids are torch.float32 .*give int64"),
        (torch.zeros(1, 8, dtype=torch.bool), {}, "ids are torch.bool .*give int64"),
        (torch.zeros(1, 8, dtype=torch.int64), {"steps": 0}, "cannot solve with 0 steps"),
        (torch.zeros(1, 8, dtype=torch.int64), {"guidance": "abc:1"}, "unknown guidance 'abc:1'"),
        (torch.zeros(1, 8, dtype=torch.int64), {"absence": "none"}, "unknown absence 'none'"),
        (
            Tokens(torch.zeros(1, 9, 6), None, torch.ones(1, 9, dtype=torch.bool)),
            {},
            "cannot keep 9 tokens: this .* has 8",
        ),
    ],
)
def test_bad_tokens_are_refused_in_one_line(tokens, options, message, one):
    with pytest.raises(ValueError, match=message) as error:
        one.decode(tokens, **options)
    assert "\n" not in str(error.value)


# -- training face --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["pixels", "kl"])
def test_losses_do_not_depend_on_the_batch_and_reach_encoder_and_decoder(space, make_tokenizer, images):
    t = make_tokenizer(space, null_probability=0.0)
    losses, tokens = t.losses(images, Draws(range(5)))
    alone = [t.losses(images[i : i + 1], Draws([i]))[0].total for i in range(5)]
    torch.testing.assert_close(losses.total, torch.stack(alone).mean(), rtol=1e-4, atol=1e-6)
    assert set(tokens.lengths.tolist()) <= {1, 2, 4, 8}
    losses.total.backward()
    for part in (t.encoder, t.decoder):
        silent = [n for n, p in part.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
        assert silent in ([], ["null_token"])
    assert all(p.grad is None and not p.requires_grad for p in t.space.parameters())


def test_bf16_autocast_keeps_ids_on_the_float32_path(make_tokenizer, images):
    """Under autocast the slots are bfloat16-rounded, but ids and values are exact for those slots, and float32."""
    t = make_tokenizer()
    slots = []
    t.quantizer.register_forward_pre_hook(lambda module, inputs: slots.append(inputs[0].detach()))
    with torch.autocast("cpu", torch.bfloat16):
        losses, tokens = t.losses(images, Draws(range(5)))
    assert slots[0].dtype == torch.bfloat16 and tokens.values_BND.dtype == torch.float32
    expected = FSQ(FSQConfig())(slots[0].float())
    assert torch.equal(tokens.ids, expected.ids_BN) and int(tokens.ids.max()) > 256
    assert losses.total.dtype == torch.float32 and bool(losses.total.isfinite())


# -- what it is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [(8, 8, 8, 5, 5, 5), (2,) * 6, (4,) * 6, (3, 3, 3, 3, 3, 3), (16, 16, 2, 2, 2, 2)])
def test_bytes_per_image_is_exact(levels, make_config):
    """ceil(length * log2(codes) / 8) in whole numbers: the fewest bytes with 256^bytes >= codes^length."""
    t = Tokenizer(dataclasses.replace(make_config(), quantizer=FSQConfig(levels)))
    codes = math.prod(levels)
    for length in (*range(1, 70), 128, 255, 256, 1000):
        found = t.bytes_per_image(length)
        assert 256**found >= codes**length > 256 ** (found - 1)
    if codes == 64_000:
        assert [t.bytes_per_image(k) for k in (1, 2, 8, 256)] == [2, 4, 16, 511]


def test_fingerprint_follows_whatever_ids_depend_on(kl_tokenizer):
    t = kl_tokenizer
    seen = {t.fingerprint()}
    assert t.fingerprint() in seen and len(t.fingerprint()) == 16 and int(t.fingerprint(), 16) >= 0
    for name, parameter in [*t.encoder.named_parameters(), *t.space.encoder.named_parameters()]:
        with torch.no_grad():
            parameter.view(-1)[-1] += 1e-3
        assert t.fingerprint() not in seen, name
        seen.add(t.fingerprint())
    before = t.fingerprint()
    with torch.no_grad():
        for parameter in (*t.space.decoder.parameters(), *t.space.post_quant_conv.parameters()):
            parameter += 1
    assert t.fingerprint() == before  # the way back to pixels is not what ids depend on


def test_fingerprint_does_not_follow_the_decoder_and_follows_settings(make_config):
    torch.manual_seed(0)
    first = Tokenizer(make_config())
    before = first.fingerprint()
    with torch.no_grad():
        first.decoder.mask_token += 1  # pyright: ignore
    assert first.fingerprint() == before
    others = [
        dataclasses.replace(make_config(), quantizer=FSQConfig((8, 8, 5, 8, 5, 5))),
        dataclasses.replace(
            make_config(), encoder=dataclasses.replace(make_config().encoder, interpolate_positions=True)
        ),
    ]
    for other in others:
        second = Tokenizer(other)
        second.load_state_dict(first.state_dict())
        assert second.fingerprint() != before


def test_figures(one):
    assert (
        one.num_tokens == 8 and one.image_size == (16, 16) and one.device.type == "cpu" and one.dtype == torch.float32
    )
    assert one.bits_per_token == pytest.approx(15.9658, abs=1e-4)
