"""Gradient checkpointing: recompute a block in the backward pass instead of keeping what it computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as recompute


def run_block(block: nn.Module, *inputs: Any, checkpoint: bool) -> Tensor:
    if checkpoint and torch.is_grad_enabled():
        result = recompute(block, *inputs, use_reentrant=False)
        assert isinstance(result, Tensor)
        return result
    return block(*inputs)
