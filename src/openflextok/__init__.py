"""OpenFlexTok: images to ordered discrete tokens, and back from any prefix.

    import openflextok as oft
    tokenizer = oft.load()
    tokens = tokenizer.encode(images)
    images = tokenizer.decode(tokens.truncate(16), seed=0)
    generator = oft.load_generator()
    images = tokenizer.decode(generator.sample(labels=["Banana"], length=32))

Names are imported when first used, so that `import openflextok` and the command's help stay quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openflextok.checkpoint import load as load
    from openflextok.checkpoint import load_generator as load_generator
    from openflextok.checkpoint import save as save
    from openflextok.flow.guidance import APG as APG
    from openflextok.flow.guidance import CFG as CFG
    from openflextok.flow.sampler import Euler as Euler
    from openflextok.flow.sampler import Heun as Heun
    from openflextok.generators.generator import Generator as Generator
    from openflextok.nets.attention import attention_backend as attention_backend
    from openflextok.pixels import to_pil as to_pil
    from openflextok.tokenizer import Tokenizer as Tokenizer
    from openflextok.types import Tokens as Tokens

_HOME = {
    "load": "checkpoint",
    "load_generator": "checkpoint",
    "save": "checkpoint",
    "APG": "flow.guidance",
    "CFG": "flow.guidance",
    "Euler": "flow.sampler",
    "Heun": "flow.sampler",
    "Generator": "generators.generator",
    "attention_backend": "nets.attention",
    "to_pil": "pixels",
    "Tokenizer": "tokenizer",
    "Tokens": "types",
}

__all__ = [
    "APG",
    "CFG",
    "Euler",
    "Generator",
    "Heun",
    "Tokenizer",
    "Tokens",
    "attention_backend",
    "load",
    "load_generator",
    "save",
    "to_pil",
]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'openflextok' has no attribute {name!r}")
    return getattr(importlib.import_module(f"openflextok.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
