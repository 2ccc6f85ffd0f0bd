"""Configurations: frozen dataclasses, data only, and their strict reading and writing."""

from openflextok.config.generator import (
    ConditionerConfig,
    GeneratorConfig,
    GPTConfig,
    LabelPrefixConfig,
    LabelSumConfig,
    TextCrossConfig,
    TextPrefixConfig,
)
from openflextok.config.reading import ConfigError, changed_entries, from_dict, nearest, to_dict, type_name
from openflextok.config.tokenizer import (
    AutoencoderKLConfig,
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
)

__all__ = [
    "AutoencoderKLConfig",
    "ConditionerConfig",
    "ConfigError",
    "FSQConfig",
    "FlowDecoderConfig",
    "FullConfig",
    "GPTConfig",
    "GeneratorConfig",
    "LabelPrefixConfig",
    "LabelSumConfig",
    "LogitNormalConfig",
    "ModeConfig",
    "PixelsConfig",
    "RegisterViTConfig",
    "TextCrossConfig",
    "TextPrefixConfig",
    "TokenizerConfig",
    "UniformChoiceConfig",
    "UniformConfig",
    "changed_entries",
    "from_dict",
    "nearest",
    "to_dict",
    "type_name",
]
