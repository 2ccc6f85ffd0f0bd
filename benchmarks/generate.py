"""Speed of sampling: tokens per second with and without the cache, against transformers on the same weights.

python benchmarks/generate.py [--quick] [--out FILE]
Each pair runs in one process, one after the other in turns; ratios compare runs of the same turn. The memory bound:
at each step every weight of blocks and head is read once, and so are the keys and values so far.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from common import in_turns, row, write

import openflextok as oft
from openflextok.config import GeneratorConfig, LabelPrefixConfig
from openflextok.convert.transformers_llama import write_llama
from openflextok.generators.generator import Generator
from openflextok.recipes.generators import gpt


def bandwidth() -> float:
    """Bytes per second of reading memory: the sum of a tensor far larger than any cache."""
    from common import measure

    x = torch.ones(1 << 28, dtype=torch.float32)
    return x.numel() * 4 / measure(lambda: x.sum(), 5).minimum


def bytes_read(generator: Generator, batch: int, steps: int) -> int:
    """By all steps of a batch: weights of blocks, norm and head, and keys and values so far (float32)."""
    gpt = generator.gpt
    weights = sum(p.numel() for p in gpt.parameters()) - gpt.embedding.weight.numel()
    cached = 2 * gpt.config.depth * gpt.config.width * batch * sum(range(1, steps + 1))
    return 4 * (steps * weights + cached)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "generate.json")
    options = parser.parse_args()
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    classes = tuple(f"class {i}" for i in range(1000))
    full: GeneratorConfig = gpt(10, LabelPrefixConfig(classes), num_tokens=256)
    models = {"gpt-mini-labels": oft.load_generator(), "gpt-d10 (random)": Generator(full).eval().requires_grad_(False)}
    rows = []
    for name, generator in models.items():
        with tempfile.TemporaryDirectory() as folder:
            write_llama(generator, Path(folder) / "llama", "")
            theirs = LlamaForCausalLM.from_pretrained(Path(folder) / "llama").eval()
        digits = len(generator.vocabulary.digits)
        cases = [(1, 16), (8, 16), (64, 16)] + ([(1, 64), (8, 64)] if generator.num_tokens == 64 else [])
        cases = cases[:2] if options.quick else cases
        for batch, length in cases:
            rows.append(compare(name, generator, theirs, batch, length, length * digits, options.turns))
            print(rows[-1], flush=True)
    write(options.out, "generate", rows)


def compare(name: str, generator: Generator, theirs, batch: int, length: int, steps: int, turns: int) -> dict:
    labels = [i % len(generator.classes) for i in range(batch)]
    first = torch.tensor([[generator.vocabulary.codes + label] for label in labels])
    shared = {"max_new_tokens": steps, "attention_mask": torch.ones_like(first)}
    static = {"cache_implementation": "static", "disable_compile": True, "do_sample": True, "top_k": 0}

    def library() -> object:
        with torch.inference_mode():
            return theirs.generate(first, **shared, **static)

    found = in_turns(
        {
            "cached": lambda: generator.sample(labels, length=length, guidance=1.0),
            "uncached": lambda: generator.sample(labels, length=length, guidance=1.0, cache=False),
            "guided": lambda: generator.sample(labels, length=length, guidance=1.5),
            "transformers": library,
        },
        turns,
    )
    limit = bytes_read(generator, batch, steps) / bandwidth()
    return row(
        model=name,
        batch=batch,
        length=length,
        steps=steps,
        **found,
        tokens_per_second=round(batch * length / found["cached"].minimum, 1),
        faster_than_transformers=round(found["transformers"].minimum / found["cached"].minimum, 2),
        faster_than_transformers_median=round(found["transformers"].median / found["cached"].median, 2),
        faster_than_uncached=round(found["uncached"].minimum / found["cached"].minimum, 2),
        share_of_memory_limit=round(limit / found["cached"].minimum, 3),
    )


if __name__ == "__main__":
    main()
