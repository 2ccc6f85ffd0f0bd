"""`openflextok encode` and `openflextok decode`: images to a token file, and back from any length."""

from __future__ import annotations

from pathlib import Path

from openflextok.cli.common import TokenizerOption


def encode(
    *images: Path,
    out: Path = Path("tokens.safetensors"),
    checkpoint: TokenizerOption = None,
    batch_size: int = 16,
) -> None:
    """Encode images to one file with ids, names and the tokenizer's fingerprint. Unreadable images are skipped.

    Parameters
    ----------
    images
        Files or folders.
    out
        The .safetensors file to write.
    checkpoint
        A built-in name, a folder or a Hub id; the embedded checkpoint if not given.
    batch_size
        Images at a time.
    """
    import torch
    from rich.progress import Progress

    from openflextok import checkpoint as checkpoints
    from openflextok.cli.common import Reader, device, image_files
    from openflextok.cli.outputs import check_file
    from openflextok.tokenfile import TokenFile, write_tokens

    files = image_files(images)
    check_file(out, ".safetensors", files)
    tokenizer = checkpoints.load(checkpoint, device=device())
    reader = Reader(files, tokenizer.image_size, batch_size)
    ids, names = [], []
    with Progress(transient=True) as bar:
        task = bar.add_task("encoding", total=len(files))
        for batch, pictures in reader:
            ids.append(tokenizer.encode(pictures).ids)
            names += [str(name) for name in batch]
            bar.update(task, completed=len(names) + len(reader.failed))
    summary = reader.summary()
    about = tokenizer_name(checkpoint)
    content = TokenFile(torch.cat(ids), tuple(names), tokenizer.fingerprint(), about)
    write_tokens(out, content, tokenizer.quantizer.codebook_size)
    print(f"{summary}, {tokenizer.num_tokens} tokens each, in {out}")


def decode(
    tokens: Path,
    /,
    *,
    out: Path,
    length: int | None = None,
    checkpoint: TokenizerOption = None,
    steps: str | None = None,
    guidance: str | None = None,
    seed: int = 0,
    batch_size: int = 16,
) -> None:
    """Decode a token file to one PNG per image, from all tokens or from the first `length`.

    Parameters
    ----------
    tokens
        A file that `openflextok encode` wrote.
    out
        Folder for the PNGs.
    length
        Tokens used; all if not given.
    checkpoint
        The tokenizer that encoded; the one named in the file if not given.
    steps
        Solver steps of the decoder: a number, or fast, balanced, best; balanced if not given.
    guidance
        default, none, a number, cfg:SCALE or apg:SCALE; the checkpoint's default if not given.
    seed
        Start of the decoder's noise, the same for every image.
    batch_size
        Images at a time.
    """
    from rich.progress import track

    from openflextok import checkpoint as checkpoints
    from openflextok.cli.common import decode_options, device, label_of, output_names
    from openflextok.cli.outputs import check_folder, save_png
    from openflextok.pixels import to_pil
    from openflextok.tokenfile import read_tokens

    content = read_tokens(tokens)
    tokenizer = checkpoints.load(checkpoint or content.tokenizer, device=device())
    if tokenizer.fingerprint() != content.fingerprint:
        raise ValueError(
            f"{tokens} was made by another tokenizer ({content.tokenizer}, fingerprint {content.fingerprint}; "
            f"this one is {tokenizer.fingerprint()}): give the one that encoded with --tokenizer"
        )
    length = content.ids.shape[1] if length is None else length
    if not 1 <= length <= content.ids.shape[1]:
        most = content.ids.shape[1]
        raise ValueError(f"cannot keep {length} tokens: {tokens} has {most} per image (1 <= length <= {most})")
    if batch_size < 1:
        raise ValueError(f"batch size {batch_size} is impossible: give 1 or more images at a time")
    options = decode_options(tokenizer, steps=steps, guidance=guidance)
    targets = output_names(content.names)
    check_folder(out, targets, [Path(name) for name in content.names])
    out.mkdir(parents=True, exist_ok=True)
    for start in track(range(0, len(targets), batch_size), description="decoding", transient=True):
        ids = content.ids[start : start + batch_size, :length]
        images = tokenizer.decode(ids, **options, seed=seed)
        for target, picture in zip(targets[start : start + batch_size], to_pil(images), strict=True):
            save_png(picture, out / target)
    what = label_of(tokenizer, length).replace("\n", ", ")
    print(f"{len(targets)} images in {out}: {what} each")


def tokenizer_name(checkpoint: str | None) -> str:
    """What to write into a token file so that `decode` finds the tokenizer again."""
    from openflextok.catalog import DEFAULT

    path = Path(checkpoint or DEFAULT)
    return str(path.absolute()) if path.is_dir() else str(checkpoint or DEFAULT)
