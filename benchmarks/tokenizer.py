"""Encode and decode speed by batch and length, and the trunk's share of the same run's matmul peak.

python benchmarks/tokenizer.py [--quick]    writes results/tokenizer.json
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from common import MATMUL_FLOPS, matmul_peak, measure, row, write

import openflextok as oft
from openflextok.nets.encoders import register_mask
from openflextok.nets.transformer import Block, TwoStreamBlock
from openflextok.recipes.flextok import flextok
from openflextok.tokenizer import Tokenizer

QUICK = "--quick" in sys.argv


def block_flops(width: int, length: int) -> int:
    """Multiply-adds times two of one block for one sample: 12 D^2 per position, and attention."""
    return 2 * 12 * width**2 * length + 4 * length**2 * width


def trunk_rows() -> list[dict[str, object]]:
    """One encoder and one decoder block at d12 sizes (256 patches, 256 registers): float32, bf16, bf16 compiled."""
    width, patches, registers = 768, 256, 256
    length = patches + registers
    mask = register_mask(patches, registers, torch.device("cpu"))
    rows = []
    for dtype, compiled in ((torch.float32, False), (torch.bfloat16, False), (torch.bfloat16, True)):
        encoder, decoder = Block(width, 64).to(dtype).eval(), TwoStreamBlock(width, 64).to(dtype).eval()
        if compiled:
            encoder.compile()
            decoder.compile()
        for batch in (1, 4) if QUICK else (1, 4, 8):
            x = torch.randn(batch, length, width, dtype=dtype)
            modulation = decoder.modulate(torch.randn(1, width, dtype=dtype))
            flops = batch * block_flops(width, length)
            for name, call in (
                ("encoder block", partial(encoder, x, mask)),
                ("decoder block", partial(decoder, [x], patches, modulation, [None])),
            ):
                peak = matmul_peak(dtype)
                time = measure(call, 9)
                share = (flops / time.minimum) / (MATMUL_FLOPS / peak.minimum)
                share_median = (flops / time.median) / (MATMUL_FLOPS / peak.median)
                rows.append(
                    row(part=name, dtype=str(dtype), compiled=compiled, batch=batch, seconds=time, peak_seconds=peak, share=round(share, 3),
                        share_median=round(share_median, 3))
                )  # fmt: skip
    return rows


def tokenizer_rows() -> list[dict[str, object]]:
    """The embedded checkpoint: images per second to encode, and to decode in 20 guided steps."""
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        tokenizer = oft.load(dtype=dtype)
        for batch in (1, 4) if QUICK else (1, 4, 16):
            images = torch.rand(batch, 3, *tokenizer.image_size) * 2 - 1
            time = measure(partial(tokenizer.encode, images))
            rows.append(
                row(
                    part="encode",
                    dtype=str(dtype),
                    batch=batch,
                    seconds=time,
                    images_per_second=round(batch / time.minimum, 2),
                )
            )
            tokens = tokenizer.encode(images)
            for length in (1, 8, tokenizer.num_tokens):
                time = measure(partial(tokenizer.decode, tokens.truncate(length), steps=20), 3)
                rows.append(
                    row(part="decode", dtype=str(dtype), batch=batch, length=length, seconds=time,
                        images_per_second=round(batch / time.minimum, 2))
                )  # fmt: skip
    return rows


def absence_rows() -> list[dict[str, object]]:
    """Decoding cost by length when absent tokens are masked and when they leave the sequence (d6, 256 tokens)."""
    rows = []
    config = flextok(2, 6)
    config = replace(config, decoder=replace(config.decoder, guidance="cfg:3"))
    tokenizer = Tokenizer(config).eval()
    noise = torch.randn(4, 16, 32, 32)
    for absence in ("mask", "remove"):
        for length in (1, 8, 32, 64, 128, 256):
            ids = torch.randint(0, 64000, (4, length))
            tokens = tokenizer._lookup(ids)
            call = partial(tokenizer.decoder.decode, tokens, noise_BCHW=noise, steps=2, absence=absence)
            with torch.inference_mode():
                rows.append(row(part=f"absence {absence}", batch=4, length=length, seconds=measure(call, 3)))
    return rows


if __name__ == "__main__":
    with torch.inference_mode():
        rows = trunk_rows() + absence_rows()
    rows += tokenizer_rows()
    for entry in rows:
        print(entry)
    write(Path(__file__).parents[1] / "results" / "tokenizer.json", "tokenizer", rows)
