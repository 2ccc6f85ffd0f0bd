"""`openflextok info`: what a checkpoint is."""

from __future__ import annotations

from pathlib import Path


def info(checkpoint: str | None = None, /) -> None:
    """Show a checkpoint's parts, sizes, tokens, bytes per image, data and licence.

    Parameters
    ----------
    checkpoint
        A built-in name, a folder or a Hub id; the embedded checkpoint if not given.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from openflextok import catalog
    from openflextok.checkpoint import is_generator

    folder = catalog.find(checkpoint)
    rows = generator_rows(folder) if is_generator(folder) else tokenizer_rows(folder)
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        table.add_row(name, escape(value))
    Console().print(table)


def tokenizer_rows(folder: Path) -> dict[str, str]:
    """What a tokenizer is, by entry."""
    from openflextok.checkpoint import load, open_checkpoint
    from openflextok.config import to_dict
    from openflextok.lengths import power_lengths

    stored = open_checkpoint(folder)
    config, about, tokenizer = stored.config, stored.about, load(folder)
    height, width = config.image_size
    rows = {
        "name": about.name,
        "folder": str(folder),
        "fingerprint": tokenizer.fingerprint(),
        "licence": about.licence,
        "data": about.data,
        "training": about.training,
        "images": f"{height} x {width} pixels, height x width",
    }
    for name in ("space", "encoder", "quantizer", "decoder"):
        part = getattr(tokenizer, name)
        parameters = sum(p.numel() for p in part.parameters())
        rows[name] = f"{type(part).__name__}, {parameters / 1e6:.2f} M parameters"
    settings = {name: value for name, value in to_dict(config.quantizer).items() if name != "type"}
    rows["quantizer"] += f", {settings}"
    rows["absent tokens"] = config.decoder.absence
    if tokenizer.quantizer.codebook_size:
        rows["codebook"] = f"{tokenizer.quantizer.codebook_size} codes, {tokenizer.bits_per_token:.3f} bits a token"
        lengths = power_lengths(tokenizer.num_tokens)
        rows["bytes"] = ", ".join(f"{n} tokens: {tokenizer.bytes_per_image(n)}" for n in lengths)
    return rows


def generator_rows(folder: Path) -> dict[str, str]:
    """What a generator is, by entry."""
    from openflextok.checkpoint import load_generator, read_generator_config

    config, about = read_generator_config(folder)
    generator = load_generator(folder)
    parameters = sum(p.numel() for p in generator.parameters())
    rows = {
        "name": about.name,
        "folder": str(folder),
        "licence": about.licence,
        "data": about.data,
        "training": about.training,
        "tokenizer": f"{config.tokenizer}, fingerprint {config.fingerprint}",
        "network": f"GPT, {config.gpt.depth} blocks of width {config.gpt.width}, {parameters / 1e6:.2f} M parameters",
        "vocabulary": f"{config.gpt.codebook_size} ids as digits {list(generator.vocabulary.digits)}",
        "tokens": f"1 to {generator.num_tokens}",
        "condition": f"{generator.conditioner.kind}, guidance {config.guidance}",
    }
    if generator.classes:
        rows["classes"] = ", ".join(generator.classes)
    return rows
