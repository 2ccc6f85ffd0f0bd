"""Configurations: strict reading, settings, cross-checks."""

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openflextok.config import (
    AutoencoderKLConfig,
    ConfigError,
    FlowDecoderConfig,
    FSQConfig,
    FullConfig,
    LogitNormalConfig,
    ModeConfig,
    PixelsConfig,
    RegisterViTConfig,
    TokenizerConfig,
    UniformChoiceConfig,
    UniformConfig,
    from_dict,
    to_dict,
)
from openflextok.overrides import with_settings

small = st.integers(1, 4)
finite = st.floats(-10, 10)


@st.composite
def configs(draw: st.DrawFn) -> TokenizerConfig:
    """Any tokenizer configuration that passes its cross-checks."""
    count, dims, size = draw(st.integers(1, 9)), draw(st.lists(st.integers(2, 9), min_size=1, max_size=6)), draw(small)
    latent = draw(small)
    vae = AutoencoderKLConfig(
        latent,
        tuple(4 * draw(small) for _ in range(draw(small))),
        draw(small),
        norm_num_groups=4,
        scaling_factor=draw(finite.filter(bool)),
        shift_factor=draw(finite),
        use_quant_conv=draw(st.booleans()),
    )
    space = draw(st.sampled_from([PixelsConfig(draw(finite)), vae]))
    channels, unit = (
        (3, size) if isinstance(space, PixelsConfig) else (latent, size * 2 ** (len(vae.block_out_channels) - 1))
    )
    grid = (draw(small), draw(small))
    timesteps = st.sampled_from(
        [UniformConfig(), LogitNormalConfig(draw(finite), draw(finite)), ModeConfig(draw(finite))]
    )
    lengths = st.lists(st.integers(1, count), min_size=1).map(lambda x: UniformChoiceConfig(tuple(x)))
    positions: Any = draw(st.sampled_from(["sincos", "axial"]))
    stretch = draw(st.booleans())
    encoder_depth, decoder_depth = draw(small), draw(small)
    return TokenizerConfig(
        (unit * draw(st.integers(1, grid[0])), unit * draw(st.integers(1, grid[1]))),
        space,
        RegisterViTConfig(
            channels, size, 64 * encoder_depth, encoder_depth, grid, count, len(dims), 64, positions, stretch
        ),
        FSQConfig(tuple(dims)),
        draw(st.one_of(st.just(FullConfig()), lengths)),
        FlowDecoderConfig(
            channels,
            size,
            64 * decoder_depth,
            decoder_depth,
            grid,
            count,
            len(dims),
            absence=draw(st.sampled_from(["mask", "remove"])),
            null_probability=draw(st.floats(0, 1)),
            zero_null=draw(st.booleans()),
            timesteps=draw(timesteps),
            guidance=draw(st.sampled_from([None, "cfg:3", "apg:7.5"])),
            feature_block=draw(st.integers(1, decoder_depth)),
        ),
    )


@given(config=configs())
@settings(max_examples=50, deadline=None)
def test_round_trip_through_json(config):
    text = json.dumps(to_dict(config), allow_nan=False)
    again = from_dict(TokenizerConfig, json.loads(text))
    assert again == config and repr(again) == repr(config)  # repr: 1 and 1.0 are told apart, as fingerprints do
    assert with_settings(config, []) == config


@pytest.fixture
def config(make_config) -> TokenizerConfig:
    return make_config()


@pytest.fixture
def data(config) -> dict:
    return to_dict(config)


def change(data: dict, path: str, value: object) -> None:
    *parents, last = path.split(".")
    for name in parents:
        data = data[name]
    data[last] = value


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("space.type", "Pixel", r"c.space: unknown type 'Pixel'; did you mean 'Pixels'\?"),
        ("space.type", "os.system", r"c.space: unknown type 'os.system'; known: AutoencoderKL, Pixels"),
        ("space.type", None, "c.space: unknown type None"),
        ("space.type", ["Pixels"], r"c.space: unknown type \['Pixels'\]"),
        ("encoder.type", "FlowDecoder", "c.encoder: unknown type 'FlowDecoder'; known: GridViT, RegisterViT"),
        ("type", "Recipe", "c: unknown type 'Recipe'; known: Tokenizer"),
        ("encoder.dept", 3, r"c.encoder: unknown entry 'dept'; did you mean 'depth'\?"),
        ("_target_", "os.system", "c: unknown entry '_target_'"),
        ("encoder.depth", "two", "c.encoder.depth: 'two' is not a whole number"),
        ("encoder.depth", 2.0, "c.encoder.depth: 2.0 is not a whole number"),
        ("encoder.depth", True, "c.encoder.depth: True is not a whole number"),
        ("encoder.depth", None, "c.encoder.depth: None is not a whole number"),
        ("encoder.grid", [4], r"c.encoder.grid: \[4\] is not 2 entries"),
        ("encoder.grid", 4, "c.encoder.grid: 4 is not a list"),
        ("quantizer.levels", [8, "8"], r"c.quantizer.levels\[1\]: '8' is not a whole number"),
        ("encoder.positions", "rope", r"c.encoder.positions: 'rope' is not one of \['sincos', 'axial'\]"),
        ("decoder.null_probability", "often", "c.decoder.null_probability: 'often' is not a number"),
        ("decoder.zero_null", 1, "c.decoder.zero_null: 1 is not bool"),
        ("decoder.guidance", 3, "c.decoder.guidance: 3 is not str; or c.decoder.guidance: 3 is not null"),
        ("decoder.timesteps", "mode", "c.decoder.timesteps: 'mode' is not an object describing a Uniform"),
        ("decoder", [], r"c.decoder: \[\] is not an object describing a FlowDecoder"),
        ("decoder.null_probability", 1.5, "null_probability 1.5 is not a probability"),
        ("decoder.feature_block", 3, r"feature_block 3 is not a block of this decoder \(1..2\)"),
        ("encoder.width", 40, "width 40 is not a multiple of head_dim 16"),
        ("encoder.num_registers", 9, "9 encoder slots but 8 decoder tokens"),
        ("encoder.slot_dim", 5, "encoder slot_dim 5 != the 6 dimensions of the FSQ quantizer"),
        ("decoder.token_dim", 5, "decoder token_dim 5 != the 6 dimensions of the FSQ quantizer"),
        ("lengths.choices", [1, 16], "length choice 16 exceeds the 8 tokens"),
        ("decoder.channels", 4, "decoder 4 must both be the 3 latent channels"),
        ("image_size", [16, 18], r"image_size \(16, 18\) must be multiples of 4"),
        ("image_size", [0, 16], r"image_size \(0, 16\) must be multiples of 4, at least 4"),
        ("image_size", [16, 32], r"encoder.grid is \(4, 4\), and image_size \(16, 32\) has \(4, 8\) patches"),
        ("decoder.grid", [4, 3], r"decoder.grid is \(4, 3\), and image_size \(16, 16\) has \(4, 4\) patches"),
        ("decoder.patch_size", 3, r"image_size \(16, 16\) must be multiples of 12"),
    ],
)
def test_what_is_refused_is_named(path, value, message, data):
    change(data, path, value)
    with pytest.raises(ConfigError, match=message) as error:
        from_dict(TokenizerConfig, data, "c")
    assert "\n" not in str(error.value)


def test_missing_entries_are_named_and_defaults_may_be_left_out(data, config):
    del data["decoder"]["guidance"], data["type"]
    expected = dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, guidance="apg:7.5"))
    assert from_dict(TokenizerConfig, data) == expected
    del data["encoder"]["depth"]
    with pytest.raises(ConfigError, match="config.encoder: entry 'depth' is missing"):
        from_dict(TokenizerConfig, data)


@pytest.mark.parametrize("whole", [None, [], "x", 3])
def test_only_objects_are_configs(whole):
    with pytest.raises(ConfigError, match="is not an object describing a Tokenizer"):
        from_dict(TokenizerConfig, whole)


# -- settings -------------------------------------------------------------------------------------------------------


def test_settings_change_what_they_name_and_nothing_else(config):
    found = with_settings(config, ["decoder.depth=3", "decoder.guidance=null", "encoder.grid=[5, 8]", "space.scale=2"])
    decoder = dataclasses.replace(config.decoder, depth=3, guidance=None)
    encoder = dataclasses.replace(config.encoder, grid=(5, 8))
    assert found == dataclasses.replace(config, decoder=decoder, encoder=encoder, space=PixelsConfig(2.0))
    assert isinstance(found.space, PixelsConfig) and isinstance(found.space.scale, float)


def test_settings_that_must_agree_can_be_given_together_in_any_order(config):
    both = ["encoder.num_registers=4", "decoder.num_tokens=4", "lengths.choices=[1, 2, 4]"]
    for order in (both, both[::-1]):
        assert with_settings(config, order).decoder.num_tokens == 4
    with pytest.raises(ConfigError, match="4 encoder slots but 8 decoder tokens"):
        with_settings(config, both[:1])


def test_settings_can_swap_a_part(config):
    found = with_settings(config, ["lengths={type: Full}", "decoder.timesteps={type: LogitNormal, mean: 0.5}"])
    assert found.lengths == FullConfig() and found.decoder.timesteps == LogitNormalConfig(mean=0.5)


@pytest.mark.parametrize("text, value", [("1e-3", 1e-3), ("0.25", 0.25), ("1", 1.0), ("2.5E-1", 0.25)])
def test_numbers_may_be_written_with_an_exponent(text, value, config):
    assert with_settings(config, [f"decoder.null_probability={text}"]).decoder.null_probability == value


def test_a_value_may_hold_an_equals_sign(config):
    assert with_settings(config, ["decoder.guidance=a=b"]).decoder.guidance == "a=b"


def test_the_given_config_is_not_changed(config):
    before = repr(config)
    with_settings(config, ["decoder.depth=3", "encoder.grid=[8, 8]"])
    assert repr(config) == before


@pytest.mark.parametrize(
    "setting, message",
    [
        ("decoder.depth", "cannot read setting 'decoder.depth': write path=value"),
        ("decoder.dept=3", r"cannot set 'decoder.dept': unknown entry 'dept'; did you mean 'depth'\?"),
        ("decode.depth=3", r"unknown entry 'decode'; did you mean 'decoder'\?"),
        ("qqq=3", "unknown entry 'qqq'; known: decoder, encoder, image_size, lengths, quantizer, space"),
        ("decoder.depth.x=3", "cannot set 'decoder.depth.x': 'x' is inside a plain value"),
        ("=3", "unknown entry ''"),
        ("decoder.depth=three", "decoder.depth: 'three' is not a whole number"),
        ("decoder.depth=", "decoder.depth: None is not a whole number"),
        ("decoder.absence=drop", r"decoder.absence: 'drop' is not one of \['mask', 'remove'\]"),
        ("encoder.grid=[2,", "value is not YAML"),
        ("lengths={type: Some}", "lengths: unknown type 'Some'"),
        ("decoder.depth=!!python/object/apply:os.getcwd []", "value is not YAML"),
    ],
)
def test_settings_that_are_refused(setting, message, config):
    with pytest.raises(ConfigError, match=message) as error:
        with_settings(config, [setting])
    assert "\n" not in str(error.value)
