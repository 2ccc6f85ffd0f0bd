"""The resume folder: everything that the next step depends on, as safetensors and JSON.

A run's folder:   OUT/checkpoints/step-00000500/resume/   weights, averages, optimizer moments, counters
                  OUT/checkpoints/step-00000500/model/    the inference folder (averaged weights)
                  OUT/model -> the newest of the latter
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from openflextok.checkpoint import CheckpointError, read_weights
from openflextok.files import write_atomic
from openflextok.train.optim import EMA
from openflextok.train.parallel import fill, whole

STATE, COUNTERS = "state.safetensors", "counters.json"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass
class Counters:
    """What a run counts."""

    step: int = 0
    """Steps done; also the position in the data order, which depends on nothing else."""
    skipped: int = 0
    """Steps skipped because a loss or gradient was not finite."""
    skipped_in_a_row: int = 0
    corrupt: int = 0
    """Unreadable images met."""


@dataclass(frozen=True)
class Trained:
    """What one phase trains: its module (as its wrapper holds it), optimizer and averages."""

    name: str
    module: nn.Module
    wrapped: nn.Module
    optimizer: torch.optim.Optimizer
    ema: EMA

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the phase's state by name, sharded ones made whole."""
        state: dict[str, Tensor] = {}
        for name, parameter in self.module.named_parameters():
            if not parameter.requires_grad:
                continue
            state[f"{self.name}/weights/{name}"] = whole(parameter)
            state[f"{self.name}/ema/{name}"] = whole(self.ema.weights[name])
            for moment, value in self.optimizer.state.get(parameter, {}).items():
                state[f"{self.name}/{moment}/{name}"] = whole(value)
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        for name, parameter in self.module.named_parameters():
            if not parameter.requires_grad:
                continue
            fill(parameter, _take(state, f"{self.name}/weights/{name}"))
            fill(self.ema.weights[name], _take(state, f"{self.name}/ema/{name}"))
            if f"{self.name}/step/{name}" in state:
                moments = {m: _take(state, f"{self.name}/{m}/{name}") for m in MOMENTS}
                self.optimizer.state[parameter] = {
                    "step": moments["step"],
                    **{m: torch.zeros_like(parameter.detach()) for m in MOMENTS[:2]},
                }
                for m in MOMENTS[:2]:
                    fill(self.optimizer.state[parameter][m], moments[m])


def _take(state: dict[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise CheckpointError(f"the resume state has no {name!r}: it is from another recipe; choose another --out")
    return state[name]


def folder_of(out: Path, step: int) -> Path:
    return out / "checkpoints" / f"step-{step:08d}"


def finished_checkpoints(out: Path) -> list[Path]:
    """Checkpoint folders, oldest first; folders that were being written have other names."""
    return sorted((out / "checkpoints").glob("step-*"))


def write_state(folder: Path | None, trained: list[Trained], counters: Counters) -> None:
    """Called by every process (sharded tensors are gathered); the one with a folder writes."""
    state = {name: tensor for phase in trained for name, tensor in phase.tensors().items()}
    if folder is not None:
        folder.mkdir(parents=True)
        save_file(state, folder / STATE)
        write_atomic(folder / COUNTERS, json.dumps(asdict(counters)))


def read_state(folder: Path, trained: list[Trained]) -> Counters:
    state = read_weights(folder / STATE)
    for phase in trained:
        phase.restore(state)
    return Counters(**json.loads((folder / COUNTERS).read_text()))


def publish(out: Path, folder: Path, keep: int) -> None:
    """Point OUT/model at the newest inference folder and drop the oldest checkpoints."""
    link = out / "model"
    temporary = out / f".model.tmp-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to((folder / "model").relative_to(out))
    os.replace(temporary, link)
    for old in finished_checkpoints(out)[:-keep]:
        shutil.rmtree(old)
