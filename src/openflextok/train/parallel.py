"""One process or several: DDP or FSDP2 around a phase's module, plain torch."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from openflextok.nets.causal import CausalBlock
from openflextok.nets.transformer import AnyBlock, TwoStreamBlock


@dataclass(frozen=True)
class World:
    """This process among those that train together."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        return self.rank == 0


@contextmanager
def world() -> Iterator[World]:
    """The processes that torchrun started, or this one alone; the process group ends with the context."""
    cuda = torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if "WORLD_SIZE" not in os.environ:
        yield World(0, 1, device)
        return
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), device)
    finally:
        gc.collect()  # a wrapped module still alive would keep the group's threads until the interpreter ends, and abort it
        dist.destroy_process_group()


def _ddp(module: nn.Module, world: World) -> nn.Module:
    return DistributedDataParallel(module, device_ids=[world.device] if world.device.type == "cuda" else None)


CALLED_APART = {TwoStreamBlock: "modulate", CausalBlock: "project"}  # methods of blocks beside their forward


def _fsdp(module: nn.Module, world: World) -> nn.Module:
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    for part in module.modules():
        if isinstance(part, AnyBlock):
            fully_shard(part)
        for kind, method in CALLED_APART.items():
            if isinstance(part, kind):
                register_fsdp_forward_method(part, method)
    return cast(nn.Module, fully_shard(module))


WRAPPERS: dict[str, Callable[[nn.Module, World], nn.Module]] = {"ddp": _ddp, "fsdp": _fsdp}


def wrap(module: nn.Module, world: World, parallel: str) -> nn.Module:
    """The module itself in a world of one; otherwise wrapped, so that gradients are averaged over processes."""
    return module if world.size == 1 else WRAPPERS[parallel](module, world)


@contextmanager
def accumulating(module: nn.Module, last: bool) -> Iterator[None]:
    """Gradients are exchanged only in the last micro-batch of a step."""
    if isinstance(module, DistributedDataParallel):
        module.require_backward_grad_sync = last
    elif hasattr(module, "set_requires_gradient_sync"):
        module.set_requires_gradient_sync(last)  # pyright: ignore[reportCallIssue]
    yield


def mean_over(world: World, value: Tensor) -> Tensor:
    """The mean of a tensor over all processes, on each of them."""
    if world.size > 1:
        dist.all_reduce(value)
        value /= world.size
    return value


def sum_over(world: World, count: int) -> int:
    """The sum of a count over all processes, on each of them."""
    return round(mean_over(world, torch.tensor(float(count), device=world.device)).item() * world.size)


def whole(tensor: Tensor) -> Tensor:
    """A possibly sharded tensor as a plain CPU tensor of its own; a collective call where sharded."""
    tensor = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """The module's state dict with whole tensors; called by every process."""
    return {name: whole(tensor) for name, tensor in module.state_dict().items()}


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Inside, every process can run any part of a sharded module outside of its own forward."""
    from torch.distributed.fsdp import FSDPModule

    sharded = [part for part in module.modules() if isinstance(part, FSDPModule)]
    for part in sharded:
        part.unshard()
    try:
        yield
    finally:
        for part in sharded:
            part.reshard()


@torch.no_grad()
def fill(target: Tensor, value: Tensor) -> None:
    """Write a plain tensor into a possibly sharded one."""
    if isinstance(target, DTensor):
        value = distribute_tensor(value.to(target.device), target.device_mesh, target.placements)
    target.copy_(value)


def any_of(world: World, flag: bool) -> bool:
    """Whether the flag is set on any process."""
    if world.size == 1:
        return flag
    flags = torch.tensor(float(flag), device=world.device)
    dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    return bool(flags.item())
