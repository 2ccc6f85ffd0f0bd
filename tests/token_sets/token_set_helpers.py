"""A tiny tokenizer with random weights, and the command as it is started."""

import os
import sys

import torch

from openflextok.config import FlowDecoderConfig, FSQConfig, PixelsConfig, RegisterViTConfig, TokenizerConfig
from openflextok.config import UniformChoiceConfig as Lengths
from openflextok.tokenizer import Tokenizer

BROKEN = (3, 4, 11, 21)  # numbers of pictures that cannot be read
PICTURES = 22


def tiny(seed: int = 0, levels: tuple[int, ...] = (8, 8, 8, 5, 5, 5)) -> Tokenizer:
    """16 px, 8 tokens."""
    torch.manual_seed(seed)
    config = TokenizerConfig(
        image_size=(16, 16),
        space=PixelsConfig(),
        encoder=RegisterViTConfig(3, 4, 32, 1, (4, 4), 8, head_dim=16, slot_dim=len(levels)),
        quantizer=FSQConfig(levels),
        lengths=Lengths((1, 2, 4, 8)),
        decoder=FlowDecoderConfig(3, 4, 32, 1, (4, 4), 8, head_dim=16, token_dim=len(levels), feature_block=1),
    )
    tokenizer = Tokenizer(config)
    for parameter in tokenizer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return tokenizer.eval().requires_grad_(False)


def command(*arguments: object, processes: int = 1) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    return [sys.executable, *launcher, "-m", "openflextok", *map(str, arguments)]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
