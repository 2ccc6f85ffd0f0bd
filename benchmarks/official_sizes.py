"""The released sizes on this machine: seconds and FLOPs of every stage, against the same run's matmul peak; load memory.

python benchmarks/official_sizes.py [d12-d12] [d18-d28] [--memory | --compile | --released]    writes results/official_sizes.json

Weights are random: speed does not depend on them. `--released` compares with the same stages organised as FlexTok's
released inference code organises them: float32, all samples packed into one sequence of length B x L under a (B L)^2 mask,
conditional and unconditional in two passes, adaLN numbers computed in every block of every pass, the VAE channels first
and with torch's own convolutions. FLOPs are those of the products that are done: of Winograd's, where they take the place
of direct convolutions.
"""

from __future__ import annotations

import copy
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import MATMUL_FLOPS, PRODUCTS, Timing, in_turns, measure, products, row, write
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from openflextok import checkpoint
from openflextok.convert.formats import convert
from openflextok.flow.sampler import Velocity
from openflextok.nets.attention import layer_norm
from openflextok.nets.encoders import RegisterViT, register_mask
from openflextok.nets.flow_decoder import FlowDecoder
from openflextok.nets.patches import unpatchify
from openflextok.nets.winograd import Conv3x3
from openflextok.recipes.flextok import flextok
from openflextok.spaces.autoencoder_kl import AutoencoderKL
from openflextok.tokenizer import Tokenizer, build_part
from openflextok.types import Tokens

RESULTS = Path(__file__).parents[1] / "results" / "official_sizes.json"
SIZES = {"d12-d12": (12, 12), "d18-d28": (18, 28)}
BATCH, STEPS = 4, 20


def build(size: str, dtype: torch.dtype) -> Tokenizer:
    """A tokenizer of a released size, every weight random (zero-initialised heads would be the same work)."""
    with torch.device("meta"):
        tokenizer = Tokenizer(flextok(*SIZES[size]))
    tokenizer = tokenizer.to(dtype).to_empty(device="cpu").eval().requires_grad_(False)
    tokenizer.quantizer = build_part(tokenizer.config.quantizer)  # its tables are not parameters
    for parameter in tokenizer.parameters():
        parameter.uniform_(-0.02, 0.02)
    return tokenizer


def attention_flops(q: torch.Size, k: torch.Size, v: torch.Size, *_: object, **__: object) -> int:
    return sdpa_flop_count(q, k, v)


def flops_of(call: Any) -> int:
    """By torch's counter, which by itself leaves out the CPU's fused attention."""
    attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops}
    with FlopCounterMode(display=False, custom_mapping=attention) as counter:
        call()
    return counter.get_total_flops()


def stage(name: str, call: Any, dtype: torch.dtype, turns: int = 5, **about: Any) -> dict[str, object]:
    """One row: seconds, FLOPs, and the share of the matmul peak, which is measured in the same turns (it moves)."""
    flops = flops_of(call)
    found = in_turns({"peak": products(dtype), "stage": call}, turns)
    time, peak = found["stage"], found["peak"]
    ratio = flops / (PRODUCTS * MATMUL_FLOPS)
    share = Timing(ratio * peak.minimum / time.minimum, ratio * peak.median / time.median)
    result = row(stage=name, dtype=str(dtype), **about, seconds=time, gflops=round(flops / 1e9, 1), share=share)
    print(result, flush=True)
    return result


def as_released(decoder: FlowDecoder, x: torch.Tensor, registers: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """One pass of the decoder over samples packed into one sequence (see above)."""
    x_BPD = decoder.patches(x)
    B, P, D = x_BPD.shape
    L = P + registers.shape[1]
    packed = torch.cat([x_BPD, registers], dim=1).reshape(1, B * L, D)
    mask = same_sample(B, L)
    silu_temb = torch.nn.functional.silu(decoder.time(t))
    for block in decoder.blocks:
        modulation = block.modulate(silu_temb)  # (B, 6, 2, D) -> a number per position
        gate_a, gate_m, shift_a, scale_a, shift_m, scale_m = (
            torch.cat([part[:, :1].expand(-1, P, -1), part[:, 1:].expand(-1, L - P, -1)], 1).reshape(1, B * L, D)
            for part in modulation.unbind(1)
        )
        normed = layer_norm(packed) * (1 + scale_a) + shift_a
        packed = packed + gate_a * block.attention(normed, mask)
        normed = layer_norm(packed) * (1 + scale_m) + shift_m
        packed = packed + gate_m * block.mlp(normed)
    shift, scale = (part[:, None] for part in decoder.head_modulation(silu_temb).unflatten(-1, (2, -1)).unbind(1))
    x_BPD = layer_norm(packed.view(B, L, D)[:, :P]) * (1 + scale) + shift
    return unpatchify(decoder.head(x_BPD), decoder.config.patch_size, (x.shape[2] // 2, x.shape[3] // 2))


def same_sample(samples: int, length: int) -> torch.Tensor:
    """The (B L)^2 mask."""
    sample = torch.arange(samples).repeat_interleave(length)
    return sample[:, None] == sample[None]


def encode_as_released(encoder: RegisterViT, x: torch.Tensor) -> torch.Tensor:
    """The encoder over samples packed into one sequence."""
    x_BPD = encoder.patches(x)
    B, P, D = x_BPD.shape
    L = P + encoder.num_slots
    packed = torch.cat([x_BPD, encoder.registers.expand(B, -1, -1)], dim=1).reshape(1, B * L, D)
    mask = same_sample(B, L) & register_mask(P, encoder.num_slots, x.device).repeat(B, B)
    for block in encoder.blocks:
        packed = block(packed, mask)
    return encoder.head(layer_norm(packed.view(B, L, D)[:, P:]))


def guided_step(tokenizer: Tokenizer, ids: torch.Tensor, latents: torch.Tensor) -> Callable[[], torch.Tensor]:
    """One guided velocity as `decode` computes it at each of its steps."""
    values, found = tokenizer.quantizer.lookup(ids), []
    tokens = Tokens(values, ids, torch.ones(ids.shape, dtype=torch.bool))

    def keep(velocity: Velocity, x: torch.Tensor, steps: int) -> torch.Tensor:
        found.append(velocity)
        return x

    tokenizer.decoder.decode(tokens, noise_BCHW=latents, steps=1, guidance="cfg:3", solver=keep)
    return partial(found[0], latents, 0)


def released(tokenizer: Tokenizer, images: torch.Tensor, latents: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """The stages as the released code organises them (see above), checked to compute the same as ours."""
    decoder, encoder, space = tokenizer.decoder, tokenizer.encoder, copy.deepcopy(tokenizer.space)
    assert isinstance(decoder, FlowDecoder) and isinstance(encoder, RegisterViT) and isinstance(space, AutoencoderKL)
    for conv in space.modules():
        if isinstance(conv, Conv3x3):
            conv.gains = lambda x_BCHW: False
    registers, t = torch.randn(BATCH, 256, decoder.config.width), torch.full((1,), 0.5)
    one_pass = partial(as_released, decoder, latents, registers, t.expand(BATCH))
    ours = decoder.velocity(decoder.patches(latents), registers, decoder.modulations(t), (16, 16))[0]
    torch.testing.assert_close(one_pass(), ours, rtol=1e-3, atol=1e-3 * float(ours.std()))
    encode = partial(encode_as_released, encoder, latents)
    slots = encoder(latents).values_BND
    torch.testing.assert_close(encode(), slots, rtol=1e-3, atol=1e-3 * float(slots.std()))
    means = tokenizer.space.encode(images) / space.config.scaling_factor + space.config.shift_factor
    torch.testing.assert_close(space.posterior(images).mean_BCHW, means, rtol=1e-3, atol=1e-3 * float(means.std()))
    return {
        "VAE encode": lambda: space.posterior(images).mean_BCHW,
        "encoder": encode,
        "decoder step, guided": lambda: (one_pass(), one_pass()),
        "VAE decode": partial(space.reconstruct, latents),
    }


def against_released(size: str, turns: int) -> list[dict[str, object]]:
    """Ours in float32 and bf16 and the released organisation in float32, in turns, so that other load meets all alike."""
    exact, half = build(size, torch.float32), build(size, torch.bfloat16)
    images = torch.rand(BATCH, 3, *exact.image_size) * 2 - 1
    latents, ids = torch.randn(BATCH, 16, 32, 32), torch.randint(0, 64_000, (BATCH, 256))
    theirs = released(exact, images, latents)
    float32, bfloat16 = (
        {
            "VAE encode": partial(tokenizer.space.encode, images),
            "encoder": partial(tokenizer.encoder, latents.to(tokenizer.dtype)),
            "decoder step, guided": guided_step(tokenizer, ids, latents),
            "VAE decode": partial(tokenizer.space.decode, latents),
        }
        for tokenizer in (exact, half)
    )
    rows, found = [], {}
    for name in theirs:
        found[name] = in_turns({"released": theirs[name], "float32": float32[name], "bfloat16": bfloat16[name]}, turns)
        rows.append(row(stage=f"in turns: {name}", size=size, batch=BATCH, **found[name]))
        print(rows[-1], flush=True)
    for whole, parts in {
        "encode": {"VAE encode": 1, "encoder": 1},
        f"decode, {STEPS} guided steps": {"decoder step, guided": STEPS, "VAE decode": 1},
    }.items():
        seconds = {
            way: Timing(
                sum(times * found[part][way].minimum for part, times in parts.items()),
                sum(times * found[part][way].median for part, times in parts.items()),
            )
            for way in ("released", "float32", "bfloat16")
        }
        ratios = {
            f"times_faster_{way}": Timing(
                seconds["released"].minimum / seconds[way].minimum, seconds["released"].median / seconds[way].median
            )
            for way in ("float32", "bfloat16")
        }
        rows.append(row(stage=f"in turns: {whole} (sum of stages)", size=size, batch=BATCH, **seconds, **ratios))
        print(rows[-1], flush=True)
    return rows


def rows_of(size: str, dtype: torch.dtype, compiled: bool) -> list[dict[str, object]]:
    tokenizer = build(size, dtype)
    if compiled:
        tokenizer.compile_blocks()
    about = {"size": size, "compiled": compiled}
    images = torch.rand(BATCH, 3, *tokenizer.image_size) * 2 - 1
    latents, ids = torch.randn(BATCH, 16, 32, 32), torch.randint(0, 64_000, (BATCH, 256))
    x = latents.to(dtype)
    rows = [
        stage("VAE encode", partial(tokenizer.space.encode, images), dtype, batch=BATCH, **about),
        stage("encoder", partial(tokenizer.encoder, x), dtype, batch=BATCH, **about),
        stage("decoder step, guided", guided_step(tokenizer, ids, latents), dtype, batch=BATCH, **about),
        stage("VAE decode", partial(tokenizer.space.decode, latents), dtype, batch=BATCH, **about),
    ]
    few = guided_step(tokenizer, ids[:, :8], latents)
    rows.append(stage("decoder step, guided, 8 tokens kept", few, dtype, batch=BATCH, **about))
    if not compiled:
        one = guided_step(tokenizer, ids[:1], latents[:1])
        rows.append(stage("decoder step, guided", one, dtype, batch=1, **about))
    seconds = [float(str(r["seconds_minimum"])) for r in rows]
    decode = STEPS * seconds[2] + seconds[3]
    print(f"{size} {dtype}: encode {BATCH} images {seconds[0] + seconds[1]:.2f} s, decode {decode:.1f} s (computed)")
    return rows


def whole_rows() -> list[dict[str, object]]:
    """A whole guided decode of 20 steps at d12-d12, measured once, to check the sum of the stages."""
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        tokenizer = build("d12-d12", dtype)
        ids = torch.randint(0, 64_000, (BATCH, 256))
        time = measure(partial(tokenizer.decode, ids, steps=STEPS, guidance="cfg:3"), 1)
        rows.append(
            row(stage="whole decode, 20 guided steps", size="d12-d12", dtype=str(dtype), batch=BATCH, seconds=time)
        )
        print(rows[-1], flush=True)
    return rows


LOAD = """
import re, sys, torch, openflextok as oft
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
before = peak()
tokenizer = oft.load(sys.argv[1], dtype=getattr(torch, sys.argv[2]))
total = sum(float(p.sum(dtype=torch.float32)) for p in tokenizer.parameters())  # touches every page
print(before, peak())
"""


def memory_rows(size: str) -> list[dict[str, object]]:
    """Peak resident memory of loading an official file of a released size, against the size of the loaded weights."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = build(size, torch.float32)
        parameters = sum(p.numel() for p in tokenizer.parameters())
        checkpoint.save(tokenizer, Path(folder) / "ours")
        del tokenizer
        convert(Path(folder) / "ours", Path(folder) / "official", to="official")
        for dtype, width in (("float32", 4), ("bfloat16", 2)):
            command = [sys.executable, "-c", LOAD, f"{folder}/official", dtype]
            found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            before, after = (int(kib) * 1024 for kib in found)
            ratio = (after - before) / (parameters * width)
            rows.append(
                row(
                    stage="load", size=size, dtype=dtype, parameters=parameters, peak_bytes=after, ratio=round(ratio, 3)
                )
            )
            print(rows[-1], flush=True)
    return rows


def keep(rows: list[dict[str, object]]) -> None:
    """Write rows to the results, in the place of older ones of the same stage."""
    known = json.loads(RESULTS.read_text())["rows"] if RESULTS.is_file() else []
    same = ("stage", "size", "dtype", "batch", "compiled")
    new = [[r.get(name) for name in same] for r in rows]
    write(RESULTS, "official_sizes", [r for r in known if [r.get(name) for name in same] not in new] + rows)


if __name__ == "__main__":
    sizes = [name for name in sys.argv[1:] if name in SIZES] or list(SIZES)
    compiled = "--compile" in sys.argv
    if "--memory" in sys.argv:
        keep(memory_rows(sizes[-1]))
    elif "--released" in sys.argv:
        with torch.inference_mode():
            for size in sizes:
                keep(against_released(size, turns=5))
    else:
        with torch.inference_mode():
            for size in sizes:
                for dtype in (torch.float32, torch.bfloat16):
                    keep(rows_of(size, dtype, compiled))
            if "d12-d12" in sizes and not compiled:
                keep(whole_rows())
    print(f"peak memory of this run: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")
