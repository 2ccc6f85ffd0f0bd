"""Where checkpoints are: built-in names, folders, and the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

BUILT_IN = Path(__file__).parent / "models"
DEFAULT = "flextok-mini"
DEFAULT_GENERATOR = "gpt-mini-labels"
DEFAULT_CAPTIONS = "gpt-mini-captions"


class NotFound(ValueError):
    """No checkpoint under that name, with what was tried."""


def built_in_names() -> list[str]:
    return sorted(path.name for path in BUILT_IN.glob("*") if (path / "config.json").is_file())


def find(name: str | Path | None, weights: str = "model.safetensors") -> Path:
    """A built-in name, a folder, a safetensors file, or a Hub id ('owner/name') -> where it lies; None: the default."""
    text = str(name) if name is not None else DEFAULT
    if not text:
        raise NotFound("the name of a checkpoint is empty: give a folder, a built-in name or a Hub id")
    if text in built_in_names():
        return BUILT_IN / text
    path = Path(text).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix == ".safetensors"):
        return path
    if path.exists():
        raise NotFound(f"{path} is a file, not a checkpoint folder: give the folder that holds config.json")
    if not is_hub_id(text):
        raise NotFound(
            f"no checkpoint {text!r}: not a folder, not a built-in name ({', '.join(built_in_names()) or 'none'})"
        )
    return download(text, ("config.json", "vae_config.json", weights, "README.md"))


def is_hub_id(text: str) -> bool:
    """Whether a text may be the name of a repository: 'owner/name'."""
    owner, _, rest = text.partition("/")
    return bool(rest) and "/" not in rest and owner not in ("", ".", "..", "~")


def download(repo: str, files: Sequence[str]) -> Path:
    """A folder with these files of a repository of the Hub, as far as it has them; NotFound where it cannot be had."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(repo, allow_patterns=list(files)))
    except (RepositoryNotFoundError, HFValidationError):
        raise NotFound(f"no checkpoint {repo!r}: not a folder here, and no such repository on the Hub") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NotFound(
            f"no folder {repo!r} here, and the Hub could not be reached ({reason}): check path or network"
        ) from None
