"""Strict reading and writing of configurations: frozen dataclasses, data only.

In JSON a part is an object with a "type" (the class name without "Config"); unknown types and unknown entries are
refused, with the nearest known name. Nothing here can name code to run.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot be read, with the reason and the allowed values."""


def check_positive(config: Any, *names: str) -> None:
    for name in names:
        value = getattr(config, name)
        if min(value if isinstance(value, tuple) else (value,), default=0) < 1:
            raise ConfigError(f"{name} {value} of {type_name(type(config))} must be at least 1")


def check_width(width: int, head_dim: int) -> None:
    if width % head_dim:
        raise ConfigError(f"width {width} is not a multiple of head_dim {head_dim}")


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """' (did you mean X?)' or the list of what is known."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"


def type_name(cls: type) -> str:
    return cls.__name__.removesuffix("Config")


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass -> plain JSON data, each part with its "type"."""
    data: dict[str, Any] = {"type": type_name(type(config))}
    for f in fields(config):
        data[f.name] = _to_json(getattr(config, f.name))
    return data


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    return to_dict(value) if is_dataclass(value) else value


def changed_entries(config: Any) -> dict[str, Any]:
    """JSON data of a config without what equals its defaults: the same after a class gains an entry."""
    data = to_dict(config)
    defaults = {f.name: f.default for f in fields(config) if f.default is not dataclasses.MISSING}
    return {n: v for n, v in data.items() if n == "type" or n not in defaults or getattr(config, n) != defaults[n]}


def config_digest(config: Any) -> str:
    """SHA-256 over `changed_entries`."""
    return hashlib.sha256(json.dumps(changed_entries(config), sort_keys=True).encode()).hexdigest()


def from_dict(cls: type[T], data: Any, where: str = "config") -> T:
    """JSON data -> a config of class `cls`; ConfigError names the entry, the value and what is allowed."""
    return _read(cls, data, where)


def _read(kind: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        return _read_union(typing.get_args(kind), value, where)
    if is_dataclass(kind):
        return _read_dataclass(typing.cast(type, kind), value, where)
    if origin is Literal:
        return _expect(value in typing.get_args(kind), value, where, f"one of {list(typing.get_args(kind))}")
    if origin is tuple:
        _expect(isinstance(value, (list, tuple)), value, where, "a list")
        inner = typing.get_args(kind)
        if inner[-1] is not Ellipsis:
            _expect(len(value) == len(inner), value, where, f"{len(inner)} entries")
        return tuple(_read(inner[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if kind is type(None):
        return _expect(value is None, value, where, "null")
    if kind is float:
        _expect(isinstance(value, (int, float)) and not isinstance(value, bool), value, where, "a number")
        return float(value)
    if kind is int:
        return _expect(isinstance(value, int) and not isinstance(value, bool), value, where, "a whole number")
    return _expect(isinstance(value, kind), value, where, kind.__name__)


def _expect(good: bool, value: Any, where: str, allowed: str) -> Any:
    if not good:
        raise ConfigError(f"{where}: {value!r} is not {allowed}")
    return value


def _read_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    parts = {type_name(kind): kind for kind in kinds if isinstance(kind, type) and is_dataclass(kind)}
    if isinstance(value, dict) and parts:
        name = value.get("type")
        if not isinstance(name, str) or name not in parts:
            raise ConfigError(f"{where}: unknown type {name!r}{nearest(str(name), parts)}")
        return _read(parts[name], value, where)
    reasons = []
    for kind in kinds:
        try:
            return _read(kind, value, where)
        except ConfigError as error:
            reasons.append(str(error))
    raise ConfigError("; or ".join(reasons))


def _read_dataclass(cls: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {value!r} is not an object describing a {type_name(cls)}")
    if value.get("type", type_name(cls)) != type_name(cls):
        raise ConfigError(f"{where}: unknown type {value['type']!r}; known: {type_name(cls)}")
    kinds = typing.get_type_hints(cls)
    known = {f.name: f for f in fields(cls)}
    for name in value:
        if name != "type" and name not in known:
            raise ConfigError(f"{where}: unknown entry {name!r}{nearest(name, known)}")
    for name, f in known.items():
        if name not in value and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: entry {name!r} is missing")
    inside = f"{where}." if where else ""
    return cls(**{name: _read(kinds[name], item, inside + name) for name, item in value.items() if name != "type"})
