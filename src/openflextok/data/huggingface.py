"""Pictures out of a Hugging Face dataset: by name, or from a folder written by `save_to_disk`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from openflextok.data.base import ImageSource, Words
from openflextok.pixels import ImageError

LABEL_COLUMNS = ("label", "labels", "class", "fine_label")
CAPTION_COLUMNS = ("caption", "text", "prompt", "captions")
DISK_MARKS = ("dataset_dict.json", "dataset_info.json")


class HuggingFaceSource(ImageSource):
    """One split of a Hugging Face dataset; the image, label and caption columns are found by type and name."""

    def __init__(self, name: str, split: str | None = None) -> None:
        """name: a dataset of the Hub or the local cache, or a folder of `save_to_disk`. split: none if it has but one.

        Raises ImportError without the `datasets` library, ValueError when the dataset, split or pictures are missing.
        """
        library = _library()
        self._dataset = _one_split(_load(library, name, split), name, split)
        features: dict[str, Any] = dict(self._dataset.features)
        image = next((column for column, kind in features.items() if isinstance(kind, library.Image)), None)
        if image is None:
            raise ValueError(f"{name}: none of the columns {', '.join(features)} holds pictures; cast one to Image()")
        self._dataset = self._dataset.cast_column(image, library.Image(decode=False))
        self._label = next((column for column in LABEL_COLUMNS if column in features), None)
        self._caption = next((column for column in CAPTION_COLUMNS if column in features), None)
        wanted = [column for column in (self._label, self._caption) if column]
        self._words = self._dataset.select_columns(wanted) if wanted else None
        self._class_names = getattr(features.get(self._label or ""), "names", None)
        self._image, self._name = image, name

    def __len__(self) -> int:
        return len(self._dataset)

    def name(self, index: int) -> str:
        return f"{self._name}[{index}]"

    def words(self, index: int) -> Words:
        row = self._words[index] if self._words is not None else {}
        label, caption = row.get(self._label), row.get(self._caption)
        if self._class_names and isinstance(label, int):
            label = self._class_names[label] if 0 <= label < len(self._class_names) else None
        if isinstance(caption, list):
            caption = caption[0] if caption else None
        return Words(None if label is None else str(label), None if caption is None else str(caption))

    def picture(self, index: int) -> Path | bytes | Image.Image:
        found = self._dataset[index][self._image]
        if not found:
            raise ImageError(f"{self.name(index)}: the picture is missing; remove the row")
        return found["bytes"] if found["bytes"] is not None else Path(found["path"])


def on_disk(path: Path) -> bool:
    """Whether a folder was written by `save_to_disk` of the datasets library."""
    return any((path / mark).is_file() for mark in DISK_MARKS)


def _library() -> Any:
    try:
        import datasets  # an extra, and slow to import
    except ImportError:
        raise ImportError("Hugging Face datasets need the datasets library: pip install 'openflextok[data]'") from None
    return datasets


def _load(library: Any, name: str, split: str | None) -> Any:
    try:
        return library.load_from_disk(name) if on_disk(Path(name)) else library.load_dataset(name, split=split)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"hf:{name}: cannot be loaded ({reason}); check the name, the split and the network") from None


def _one_split(found: Any, name: str, split: str | None) -> Any:
    if not isinstance(found, dict):
        own = str(found.split) if on_disk(Path(name)) else split  # the Hub gives the split that it is asked for
        if split not in (None, own):
            raise ValueError(f"hf:{name}: the saved dataset is one split, {own!r}, not {split!r}: leave the split out")
        return found
    chosen = split or (next(iter(found)) if len(found) == 1 else None)
    if chosen not in found:
        raise ValueError(f"hf:{name}: no split {chosen!r}; choose one of {', '.join(found)} (hf:{name}:SPLIT)")
    return found[chosen]
