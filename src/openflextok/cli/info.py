"""`openflextok info`: what a checkpoint is."""

from __future__ import annotations


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
    from openflextok.checkpoint import load, open_checkpoint
    from openflextok.lengths import power_lengths

    folder = catalog.find(checkpoint)
    stored = open_checkpoint(folder)
    config, about, tokenizer = stored.config, stored.about, load(folder)
    height, width = config.image_size
    levels = " x ".join(str(level) for level in config.quantizer.levels)
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
    rows["codebook"] = (
        f"{levels} = {tokenizer.quantizer.codebook_size} codes, {tokenizer.bits_per_token:.3f} bits a token"
    )
    rows["absent tokens"] = config.decoder.absence
    lengths = power_lengths(tokenizer.num_tokens)
    rows["bytes"] = ", ".join(f"{n} tokens: {tokenizer.bytes_per_image(n)}" for n in lengths)
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        table.add_row(name, escape(value))
    Console().print(table)
