"""Generators: GPTs over the tokens of a tokenizer."""

from __future__ import annotations

from dataclasses import replace

from openflextok.config import (
    ConditionerConfig,
    GeneratorConfig,
    GPTConfig,
    LabelPrefixConfig,
    TextCrossConfig,
    TextPrefixConfig,
)
from openflextok.train.settings import GeneratorRecipe, OptimConfig, TrainConfig

FSQ_64K = 64_000
FSQ_HALVES = (8 * 8 * 8, 5 * 5 * 5)  # an id as two digits: its first three FSQ levels, then the others


def gpt(
    depth: int,
    conditioner: ConditionerConfig | None = None,
    *,
    num_tokens: int = 256,
    codebook_size: int = FSQ_64K,
    digits: tuple[int, ...] = (),
    guidance: float = 1.5,
) -> GeneratorConfig:
    """A GPT with the paper's one dial: width = 64 x depth; 12 x depth x width^2 parameters beside its vocabulary."""
    network = GPTConfig(64 * depth, depth, codebook_size, num_tokens, digits)
    return GeneratorConfig(network, conditioner or LabelPrefixConfig(), guidance=guidance)


def _paper(
    name: str, depth: int, conditioner: ConditionerConfig | None = None, guidance: float = 1.5
) -> GeneratorRecipe:
    optim = OptimConfig(learning_rate=1.2e-3, base_width=640, betas=(0.9, 0.95), warmup_steps=37_500)
    train = TrainConfig(
        steps=375_000,
        batch_size=1024,
        micro_batch_size=64,
        parallel="fsdp",
        optim=optim,
        save_every=1000,
        preview_every=5000,
        log_every=50,
    )
    return GeneratorRecipe(name, gpt(depth, conditioner, guidance=guidance), train)


def gpt_d10() -> GeneratorRecipe:
    """The paper's smallest GPT of classes: 49 M parameters beside the vocabulary (arXiv 2502.13967).

    openflextok train gpt-d10 --data TOKENS --out runs/gpt (under torchrun, one process per GPU)
    Cost: the paper's length of 300 epochs of ImageNet; not run by us. Expected: not measured by us.
    """
    return _paper("gpt-d10", 10)


def gpt_d18() -> GeneratorRecipe:
    """A middle size of the paper's GPT of classes: 287 M parameters beside the vocabulary (arXiv 2502.13967).

    openflextok train gpt-d18 --data TOKENS --out runs/gpt (under torchrun, one process per GPU)
    Cost: the paper's length of 300 epochs of ImageNet; not run by us. Expected: not measured by us.
    """
    return _paper("gpt-d18", 18)


def gpt_d30() -> GeneratorRecipe:
    """The paper's largest GPT of classes: 1.33 B parameters beside the vocabulary (arXiv 2502.13967).

    openflextok train gpt-d30 --data TOKENS --out runs/gpt (under torchrun, one process per GPU)
    Cost: the paper's length of 300 epochs of ImageNet; not run by us. Expected: not measured by us.
    """
    return _paper("gpt-d30", 30)


def gpt_text_d12() -> GeneratorRecipe:
    """The paper's smallest GPT of captions, with cross-attention to FLAN-T5-XL: 113 M parameters beside the vocabulary.

    openflextok train gpt-text-d12 --data TOKENS --out runs/gpt (under torchrun, one process per GPU)
    Cost: not run by us. Expected: not measured by us.
    """
    return _paper("gpt-text-d12", 12, TextCrossConfig(), guidance=3.0)


def gpt_text_d36() -> GeneratorRecipe:
    """The paper's largest GPT of captions, with cross-attention to FLAN-T5-XL: 3.06 B parameters beside the vocabulary.

    openflextok train gpt-text-d36 --data TOKENS --out runs/gpt (under torchrun, one process per GPU)
    Cost: not run by us. Expected: not measured by us.
    """
    return _paper("gpt-text-d36", 36, TextCrossConfig(), guidance=3.0)


def _mini(name: str, conditioner: ConditionerConfig, guidance: float, steps: int) -> GeneratorRecipe:
    network = gpt(6, conditioner, num_tokens=64, digits=FSQ_HALVES, guidance=guidance)
    network = replace(network, gpt=replace(network.gpt, width=256))
    optim = OptimConfig(learning_rate=2e-3, base_width=256, betas=(0.9, 0.95), weight_decay=0.1, warmup_steps=100)
    train = TrainConfig(
        steps=steps, batch_size=64, attention="math", optim=optim, save_every=250, preview_every=500, log_every=10
    )
    return GeneratorRecipe(name, network, train)


def gpt_mini_labels() -> GeneratorRecipe:
    """The embedded GPT of classes over the tokens of `flextok-mini`: 5.24 M parameters, ids split into two digits.

    openflextok train gpt-mini-labels --data TOKENS --heldout TOKENS --out runs/gpt
    Cost: 128,000 sequences, about 20 minutes on 2 CPU cores. Result: the embedded generator's model card.
    """
    return _mini("gpt-mini-labels", LabelPrefixConfig(), 1.5, steps=2000)


def gpt_mini_captions() -> GeneratorRecipe:
    """The embedded GPT of captions over the tokens of `flextok-mini`, on MiniLM's text tokens: 5.4 M parameters.

    openflextok train gpt-mini-captions --data TOKENS --heldout TOKENS --out runs/gpt
    Cost: 70,400 sequences, about 12 minutes on 2 CPU cores. Result: the embedded generator's model card.
    """
    return _mini("gpt-mini-captions", TextPrefixConfig(), 2.0, steps=1100)
