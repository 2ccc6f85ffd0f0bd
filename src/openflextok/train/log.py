"""The run's records: metrics.jsonl (the same for every repetition), timing.jsonl, TensorBoard, unreadable images."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from openflextok.files import write_atomic

logger = logging.getLogger(__name__)


class RunLog:
    """Appends lines to files under the run's folder; on resume, drops lines after the step resumed from."""

    def __init__(self, out: Path, step: int) -> None:
        self.out = out
        for name in ("metrics.jsonl", "timing.jsonl", "corrupt.jsonl"):
            self._rewind(out / name, step)
        self._board = self._tensorboard(out / "tensorboard", step)

    @staticmethod
    def _rewind(path: Path, step: int) -> None:
        if path.exists():
            lines = path.read_text().splitlines()
            whole = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
            write_atomic(path, "".join(line + "\n" for line in whole))

    @staticmethod
    def _tensorboard(folder: Path, step: int) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            logger.info("no TensorBoard log: install the extra 'train' for one")
            return None
        return SummaryWriter(str(folder), purge_step=step + 1)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self._append("metrics.jsonl", {"step": step, **values})
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def timing(self, step: int, values: dict[str, float]) -> None:
        self._append("timing.jsonl", {"step": step, **values})

    def corrupt(self, step: int, reasons: tuple[str, ...]) -> None:
        for reason in reasons:
            self._append("corrupt.jsonl", {"step": step, "image": reason})

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def _append(self, name: str, record: dict[str, Any]) -> None:
        with (self.out / name).open("a") as file:
            file.write(json.dumps(record) + "\n")
