"""Settings such as train.steps=100 applied to a configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from openflextok.config import ConfigError, from_dict, nearest, to_dict

T = TypeVar("T")


def with_settings(config: T, settings: Iterable[str]) -> T:
    """Apply 'train.steps=100' style settings to a (nested) config; values are YAML; unknown paths name the nearest.

    All are applied before anything is checked, so that entries that must agree can be set together.
    """
    data = to_dict(config)
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"cannot read setting {setting!r}: write path=value, as in train.steps=100")
        _set(data, path, _value(setting, text))
    return from_dict(type(config), data, "")


def _value(setting: str, text: str) -> Any:
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(
            f"cannot read setting {setting!r}: the value is not YAML; quote it, or write [1, 2] or null"
        ) from None
    try:
        return float(value) if isinstance(value, str) else value  # YAML 1.1 takes 1e-3 for a text
    except ValueError:
        return value


def _set(data: Any, path: str, value: Any) -> None:
    names = path.split(".")
    for depth, name in enumerate(names, start=1):
        if not isinstance(data, dict):
            raise ConfigError(f"cannot set {path!r}: {name!r} is inside a plain value")
        if name not in data:
            raise ConfigError(f"cannot set {path!r}: unknown entry {name!r}{nearest(name, data.keys() - {'type'})}")
        if depth == len(names):
            data[name] = value
        data = data[name]
