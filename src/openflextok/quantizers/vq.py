"""Vector quantization with a codebook of unit vectors (VQ-VAE, arXiv 1711.00937; l2-normalised as in arXiv 2110.04627).

    z -> unit length -> nearest code (straight-through)       ids are numbers of codes

Shape suffixes: B batch, N tokens, D dimensions, K codes, S slots of one step.
"""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from openflextok.config import VQConfig
from openflextok.interfaces import Quantizer
from openflextok.types import Losses, Quantized

ROWS = 4096  # slots compared with the codebook at a time


class VQ(Quantizer):
    """Nearest code of a learned codebook; distances in float32, also under autocast.

    The codebook follows its slots' moving average, or learns by gradient. Codes that no slot has chosen for a while
    are moved to the slots that are furthest from their codes. Both happen once per step, from all its micro-batches
    and processes.
    """

    codebook_KD: Tensor
    mass_K: Tensor
    idle_K: Tensor

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        self.config = config
        self.codebook_size = config.codes
        self.bits_per_token = math.log2(config.codes)
        codebook_KD = F.normalize(torch.randn(config.codes, config.dim), dim=-1)
        if config.decay is None:
            self.codebook_KD = nn.Parameter(codebook_KD)
        else:
            self.register_buffer("codebook_KD", codebook_KD)
        # the state of training alone: resumed, but not part of a checkpoint for use
        self.register_buffer("mass_K", torch.ones(config.codes, device="cpu"), persistent=False)
        self.register_buffer("idle_K", torch.zeros(config.codes, dtype=torch.int64, device="cpu"), persistent=False)
        self._by_steps = config.decay is not None or config.restart_after > 0
        self._seen: list[tuple[Tensor, Tensor]] = []  # unit slots (S, D) and ids (S,) of the step so far

    def forward(self, z_BND: Tensor) -> Quantized:
        with torch.autocast(z_BND.device.type, enabled=False):
            unit_BND = F.normalize(z_BND.float(), dim=-1)
            codebook_KD = F.normalize(self.codebook_KD.float(), dim=-1)
            with torch.no_grad():
                ids_BN = nearest(unit_BND.flatten(0, 1), codebook_KD).view(unit_BND.shape[:2])
            code_BND = codebook_KD[ids_BN]
            terms = {"commitment": self.config.commitment_weight * F.mse_loss(unit_BND, code_BND.detach())}
            if code_BND.requires_grad:
                terms["codebook"] = F.mse_loss(code_BND, unit_BND.detach())
            if self._by_steps and torch.is_grad_enabled() and z_BND.requires_grad:
                self._seen.append((unit_BND.detach().flatten(0, 1), ids_BN.flatten()))
            return Quantized(unit_BND + (code_BND - unit_BND).detach(), ids_BN, Losses(terms))

    def lookup(self, ids_BN: Tensor) -> Tensor:
        """Ids in [0, K) -> unit vectors (B, N, D), float32."""
        return F.normalize(self.codebook_KD.float(), dim=-1)[ids_BN]

    # -- once per step ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def end_step(self, applied: bool) -> None:
        seen, self._seen = self._seen, []
        if not (applied and seen):
            return
        slots_SD, ids_S = (torch.cat(parts) for parts in zip(*seen, strict=True))
        slots_SD, ids_S = of_all_processes(slots_SD), of_all_processes(ids_S)
        counts_K = torch.bincount(ids_S, minlength=self.codebook_size)
        furthest_S = (slots_SD * self.lookup(ids_S)).sum(-1).argsort(stable=True)
        if self.config.decay is not None:
            self._follow(slots_SD, ids_S, counts_K, self.config.decay)
        self.idle_K.add_(1).masked_fill_(counts_K > 0, 0)
        if self.config.restart_after:
            self._restart(slots_SD[furthest_S])
        if self.config.decay is not None:  # sums on GPUs are not the same twice
            for state in (self.codebook_KD, self.mass_K, self.idle_K):
                from_first_process(state)

    def _follow(self, slots_SD: Tensor, ids_S: Tensor, counts_K: Tensor, decay: float) -> None:
        """Each code towards the mean of its slots, as heavy as the moving average of their number."""
        sums_KD = torch.zeros_like(self.codebook_KD).index_add_(0, ids_S, slots_SD)
        moved_KD = F.normalize(decay * self.mass_K[:, None] * self.codebook_KD + (1 - decay) * sums_KD, dim=-1)
        self.codebook_KD.copy_(torch.where(counts_K[:, None] > 0, moved_KD, self.codebook_KD))
        self.mass_K.mul_(decay).add_(counts_K, alpha=1 - decay)

    def _restart(self, candidates_SD: Tensor) -> None:
        """Idle codes, longest idle first, become the first candidates."""
        dead = (self.idle_K >= self.config.restart_after).nonzero()[:, 0]
        dead = dead[self.idle_K[dead].argsort(descending=True, stable=True)][: len(candidates_SD)]
        self.codebook_KD[dead] = candidates_SD[: len(dead)]
        self.mass_K[dead], self.idle_K[dead] = 1.0, 0


def nearest(slots_SD: Tensor, codebook_KD: Tensor) -> Tensor:
    """Number of the nearest unit vector of each unit slot (S,); the first of equals."""
    parts = slots_SD.split(ROWS)
    return torch.cat([(part @ codebook_KD.T).argmax(-1) for part in parts])


def of_all_processes(rows: Tensor) -> Tensor:
    """The rows of every process, in the order of ranks; as many on each."""
    if not (dist.is_available() and dist.is_initialized()):
        return rows
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def from_first_process(state: Tensor) -> None:
    """The first process's values, on every one."""
    if dist.is_available() and dist.is_initialized():
        dist.broadcast(state, src=0)
