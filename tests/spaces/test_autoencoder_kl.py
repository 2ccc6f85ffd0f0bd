"""The autoencoder against diffusers', in both directions, and its latent convention."""

import importlib
import json
import warnings

import pytest
import torch
from torch import Tensor

from openflextok.config import AutoencoderKLConfig, ConfigError
from openflextok.convert.diffusers_vae import load_autoencoder, save_autoencoder
from openflextok.spaces.autoencoder_kl import AutoencoderKL, Posterior
from openflextok.storage import CheckpointError

TINY = AutoencoderKLConfig(4, (8, 16, 16), 2, norm_num_groups=4, scaling_factor=0.7, shift_factor=0.1)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, 24, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def make(randomise):
    return lambda config=TINY: randomise(AutoencoderKL(config), std=0.15)


@pytest.fixture(scope="session")
def diffusers_class():
    pytest.importorskip("diffusers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("diffusers").AutoencoderKL


def diffusers_model(diffusers_class, c: AutoencoderKLConfig):
    levels = len(c.block_out_channels)
    torch.manual_seed(0)
    model = diffusers_class(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=c.block_out_channels,
        layers_per_block=c.layers_per_block,
        latent_channels=c.latent_channels,
        norm_num_groups=c.norm_num_groups,
        scaling_factor=c.scaling_factor,
        shift_factor=c.shift_factor,
        mid_block_add_attention=c.mid_block_add_attention,
        use_quant_conv=c.use_quant_conv,
        use_post_quant_conv=c.use_post_quant_conv,
    ).eval()
    for parameter in model.parameters():  # norms and biases start at 0 and 1: make them count
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


variants = pytest.mark.parametrize(
    "config",
    [
        TINY,
        AutoencoderKLConfig(2, (8,), 1, norm_num_groups=2, mid_block_add_attention=False),
        AutoencoderKLConfig(3, (4, 8), 1, norm_num_groups=4, use_quant_conv=False, use_post_quant_conv=False),
    ],
    ids=["f4 with attention", "f1 without", "f2 without 1x1 convolutions"],
)


@variants
def test_equal_to_diffusers_from_its_own_folder(config, diffusers_class, images, tmp_path):
    theirs = diffusers_model(diffusers_class, config)
    theirs.save_pretrained(tmp_path / "vae")
    ours = load_autoencoder(tmp_path / "vae")
    assert ours.config == config
    with torch.no_grad():
        expected, found = theirs.encode(images).latent_dist, ours.posterior(images)
        torch.testing.assert_close(found.mean_BCHW, expected.mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.logvar_BCHW, expected.logvar, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.std_BCHW, expected.std, rtol=1e-4, atol=1e-5)
        kl = expected.kl() / expected.mean[0].numel()
        torch.testing.assert_close(found.kl(), kl.mean(), rtol=1e-4, atol=1e-5)
        latents = (expected.mean - config.shift_factor) * config.scaling_factor
        torch.testing.assert_close(ours.encode(images), latents, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(ours.decode(latents), theirs.decode(expected.mean).sample, rtol=1e-4, atol=1e-4)


@variants
def test_diffusers_loads_our_folder(config, diffusers_class, images, tmp_path, make):
    ours = make(config)
    save_autoencoder(ours.state_dict(), config, tmp_path / "vae", "# a card\n")
    theirs, report = diffusers_class.from_pretrained(tmp_path / "vae", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert theirs.config.scaling_factor == config.scaling_factor
    with torch.no_grad():
        expected = theirs.encode(images).latent_dist.mean
        torch.testing.assert_close(ours.posterior(images).mean_BCHW, expected, rtol=1e-4, atol=1e-5)
    again = load_autoencoder(tmp_path / "vae")
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), ours.state_dict().values(), strict=True))


def test_posterior_noise_moves_latents_by_its_standard_deviation(make, images):
    space = make()
    noise = torch.randn(2, 4, 6, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        posterior = space.posterior(images)
        expected = (posterior.mean_BCHW + torch.exp(posterior.logvar_BCHW / 2) * noise - 0.1) * 0.7
        torch.testing.assert_close(space.encode(images, noise), expected)
        torch.testing.assert_close(space.encode(images, torch.zeros_like(noise)), space.encode(images), rtol=0, atol=0)


def test_decode_undoes_shift_and_scale(make):
    space = make()
    unscaled = torch.randn(1, 4, 6, 4, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(
            space.decode((unscaled - 0.1) * 0.7), space.reconstruct(unscaled), rtol=1e-4, atol=1e-5
        )


def test_kl_by_closed_form():
    """KL(N(m, s^2) || N(0, 1)) = (m^2 + s^2 - 1) / 2 - log s."""
    m, s = 0.7, 1.6
    shape = (1, 1, 2, 2)
    posterior = Posterior(torch.full(shape, m), torch.full(shape, s).square().log())
    expected = torch.distributions.kl_divergence(torch.distributions.Normal(m, s), torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(posterior.kl(), expected)


def test_encode_takes_images_of_any_dtype_and_keeps_the_weights_dtype(make, images):
    space = make()
    with torch.no_grad():
        expected = space.encode(images)
        found = space.bfloat16().encode(images)
    assert found.dtype == torch.bfloat16
    assert float((found.float() - expected).std() / expected.std()) < 0.05


def test_latent_size(make, images):
    space = make()
    assert (space.channels, space.downsample) == (4, 4)
    assert space.encode(images).shape == (2, 4, 6, 4)


@pytest.mark.parametrize(
    "posterior, message", [("mode", "unknown posterior 'mode'"), (torch.zeros(1), "posterior noise is")]
)
def test_bad_posterior_is_refused(posterior, message, make, images):
    with pytest.raises(ValueError, match=message):
        make().encode(images, posterior)


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"block_out_channels": (8, 10)}, "10 is not a multiple of norm_num_groups 4"),
        ({"block_out_channels": ()}, "block_out_channels .* at least 1"),
        ({"norm_num_groups": 0}, "norm_num_groups 0 .* at least 1"),
        ({"scaling_factor": 0.0}, "scaling_factor is 0"),
    ],
)
def test_impossible_configs_are_refused(entry, message):
    with pytest.raises(ConfigError, match=message):
        AutoencoderKLConfig(**({"latent_channels": 4, "block_out_channels": (8,), "norm_num_groups": 4} | entry))


# -- folders --------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(make, tmp_path):
    save_autoencoder(make().state_dict(), TINY, tmp_path / "vae", "# a card\n")
    return tmp_path / "vae"


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "is not JSON"),
        ("[1]", "holds a list, not an object"),
        ("{}", "_class_name is None, expected 'AutoencoderKL'"),
        ('{"_class_name": "AutoencoderKL", "in_channels": 4}', "in_channels is 4; only 3 is supported"),
        (
            '{"_class_name": "AutoencoderKL", "latent_channels": "four"}',
            "latent_channels: 'four' is not a whole number",
        ),
    ],
)
def test_bad_autoencoder_configs(content, message, folder):
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=message) as error:
        load_autoencoder(folder)
    assert "\n" not in str(error.value)


def test_weights_of_another_shape_are_named(folder):
    data = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(data | {"latent_channels": 5}))
    with pytest.raises(CheckpointError, match="weights are of another shape: decoder.conv_in.weight"):
        load_autoencoder(folder)


def test_pickled_autoencoders_are_never_read(folder):
    (folder / "diffusion_pytorch_model.safetensors").rename(folder / "diffusion_pytorch_model.bin")
    with pytest.raises(
        CheckpointError, match="missing .*diffusion_pytorch_model.bin are never read: convert to safetensors"
    ):
        load_autoencoder(folder)
