"""`openflextok demo` and `openflextok reconstruct`: images beside what their prefixes give back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from openflextok.cli.common import TokenizerOption

if TYPE_CHECKING:
    from PIL import Image

    from openflextok.tokenizer import Tokenizer

MOST_ROWS = 32
PHOTOS = Path(__file__).parents[1] / "photos"


def demo(
    *images: Path,
    out: Path = Path("demo.png"),
    checkpoint: TokenizerOption = None,
    steps: str | None = None,
    guidance: str | None = None,
    seed: int = 0,
) -> None:
    """Rebuild photos from 1, 2, 4, ... tokens and write one labelled picture. Works offline.

    Parameters
    ----------
    images
        Photos or folders; four bundled photos if none are given.
    out
        The PNG to write: a row per photo; original, then each length with its bytes and mean PSNR.
    checkpoint
        A built-in name, a folder or a Hub id; the embedded checkpoint if not given.
    steps
        Solver steps of the decoder: a number, or fast, balanced, best; balanced if not given.
    guidance
        default, none, a number, cfg:SCALE or apg:SCALE; the checkpoint's default if not given.
    seed
        Start of the decoder's noise.
    """
    from openflextok import checkpoint as checkpoints
    from openflextok.cli.common import Reader, decode_options, device, image_files
    from openflextok.cli.outputs import check_file, save_png

    files = image_files(images or sorted(PHOTOS.glob("*.jpg")))
    check_file(out, ".png", files)
    tokenizer = checkpoints.load(checkpoint, device=device())
    if len(files) > MOST_ROWS:
        raise ValueError(
            f"cannot show {len(files)} photos in one picture: give at most {MOST_ROWS}, or use reconstruct"
        )
    reader = Reader(files, tokenizer.image_size, batch=MOST_ROWS)
    pictures = [picture for _, batch in reader for picture in batch]
    summary = reader.summary()
    save_png(prefix_table(tokenizer, pictures, decode_options(tokenizer, steps=steps, guidance=guidance), seed), out)
    print(f"{summary}; grid in {out}")


def prefix_table(tokenizer: Tokenizer, pictures: list[Image.Image], options: dict[str, Any], seed: int) -> Image.Image:
    """A row per picture: the original, then each prefix length labelled with tokens, bytes and mean PSNR."""
    from rich.progress import track

    from openflextok.cli.common import label_of
    from openflextok.evaluate.metrics import psnr
    from openflextok.evaluate.pictures import picture_grid
    from openflextok.lengths import power_lengths
    from openflextok.pixels import to_pil

    tokens = tokenizer.encode(pictures)
    original = tokenizer.to_images(pictures)
    columns = [("original", to_pil(original))]
    for length in track(power_lengths(tokenizer.num_tokens), description="decoding", transient=True):
        rebuilt = tokenizer.decode(tokens.truncate(length), **options, seed=seed)
        quality = psnr(original, rebuilt).mean().item()
        columns.append((f"{label_of(tokenizer, length)}\n{quality:.1f} dB", to_pil(rebuilt)))
    return picture_grid(columns)


def reconstruct(
    *images: Path,
    out: Path,
    length: int | None = None,
    checkpoint: TokenizerOption = None,
    steps: str | None = None,
    guidance: str | None = None,
    seed: int = 0,
    batch_size: int = 16,
) -> None:
    """Encode and decode images; writes one PNG each. Unreadable images are named and skipped.

    Parameters
    ----------
    images
        Files or folders.
    out
        Folder for the PNGs.
    length
        Tokens kept; all if not given.
    checkpoint
        A built-in name, a folder or a Hub id; the embedded checkpoint if not given.
    steps
        Solver steps of the decoder: a number, or fast, balanced, best; balanced if not given.
    guidance
        default, none, a number, cfg:SCALE or apg:SCALE; the checkpoint's default if not given.
    seed
        Start of the decoder's noise, the same for every image.
    batch_size
        Images at a time.
    """
    from openflextok import checkpoint as checkpoints
    from openflextok.cli.common import Reader, decode_options, device, image_files, label_of, output_names
    from openflextok.cli.outputs import check_folder, save_png
    from openflextok.evaluate.metrics import psnr
    from openflextok.pixels import to_pil

    files = image_files(images)
    tokenizer = checkpoints.load(checkpoint, device=device())
    options = decode_options(tokenizer, steps=steps, guidance=guidance)
    length = tokenizer.num_tokens if length is None else length
    targets = dict(zip(files, output_names([str(file) for file in files]), strict=True))
    check_folder(out, targets.values(), files)
    reader = Reader(files, tokenizer.image_size, batch_size)
    out.mkdir(parents=True, exist_ok=True)
    quality: list[float] = []
    for names, pictures in reader:
        original = tokenizer.to_images(pictures)
        tokens = tokenizer.encode(original).truncate(length)
        rebuilt = tokenizer.decode(tokens, **options, seed=seed)
        quality += psnr(original, rebuilt).tolist()
        for name, picture in zip(names, to_pil(rebuilt), strict=True):
            save_png(picture, out / targets[name])
    summary = reader.summary()
    what = label_of(tokenizer, length).replace("\n", ", ")
    print(f"{summary} in {out}: {what} each, mean PSNR {sum(quality) / len(quality):.2f} dB")
