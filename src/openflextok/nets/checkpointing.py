"""Gradient checkpointing: recompute a block in the backward pass instead of keeping what it computed."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint as recompute


def run_block(block: nn.Module, *inputs: Any, checkpoint: bool) -> Any:
    """What the block makes of its inputs."""
    if checkpoint and torch.is_grad_enabled():
        return recompute(block, *inputs, use_reentrant=False)
    return block(*inputs)
