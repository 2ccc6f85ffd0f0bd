"""`openflextok convert`: a checkpoint from one format to another."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def convert(
    source: str,
    out: Path,
    /,
    *,
    to: Literal["openflextok", "official", "transformers"] = "openflextok",
    dtype: Literal["same", "float32", "bfloat16", "float16"] = "same",
) -> None:
    """Write a checkpoint in another format: official FlexTok weights as ours and back, or a generator as a Llama.

    Parameters
    ----------
    source
        What to read: a built-in name, a folder, an official FlexTok folder or file, or a Hub id.
    out
        Where to write: a new folder; with `--to official`, a name ending in .safetensors makes one file.
    to
        The format to write; transformers is for generators of labels.
    dtype
        The type of the weights written; "same" keeps theirs. Not with `--to official`.
    """
    import torch

    from openflextok.convert import formats

    if to == "official" and dtype != "same":
        raise ValueError("--dtype does not go with --to official: official weights are written as they are")
    formats.convert(source, out, to, None if dtype == "same" else getattr(torch, dtype))
    print(f"{out}: {to} checkpoint")
