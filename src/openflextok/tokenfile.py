"""Token files: the ids of many images in one safetensors file, with their names and the tokenizer they belong to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from openflextok.files import atomic_file

FORMAT = "openflextok-tokens-1"


@dataclass(frozen=True)
class TokenFile:
    """ids (images, tokens) int64; one name per image; the fingerprint and name of the tokenizer."""

    ids: Tensor
    names: tuple[str, ...]
    fingerprint: str
    tokenizer: str


def write_tokens(path: Path, content: TokenFile, codebook_size: int) -> None:
    """Write whole or not at all; ids take two, four or eight bytes each, as the codebook needs."""
    kind = torch.uint16 if codebook_size <= 1 << 16 else torch.int32 if codebook_size <= 1 << 31 else torch.int64
    header = {
        "format": FORMAT,
        "names": json.dumps(content.names),
        "fingerprint": content.fingerprint,
        "tokenizer": content.tokenizer,
    }
    with atomic_file(path) as temporary:
        save_file({"ids": content.ids.cpu().to(kind).contiguous()}, temporary, metadata=header)


def read_tokens(path: Path) -> TokenFile:
    """Read what `write_tokens` wrote; ValueError says what is wrong with the file."""
    if not path.is_file():
        raise ValueError(f"no token file {path}: make one with `openflextok encode`")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError(f"{path} is not a token file: give one that `openflextok encode` wrote")
            ids = file.get_tensor("ids").to(torch.int64)
            names = json.loads(header["names"])
            if ids.ndim != 2 or not isinstance(names, list) or len(names) != len(ids):
                raise ValueError(f"{path}: ids of shape {tuple(ids.shape)} do not go with its names: encode again")
            return TokenFile(ids, tuple(map(str, names)), header["fingerprint"], header["tokenizer"])
    except (SafetensorError, OSError, KeyError) as error:
        raise ValueError(f"{path} is damaged or not a token file ({error}): encode the images again") from None
