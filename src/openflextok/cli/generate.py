"""`openflextok generate`: new images from classes or captions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from PIL.Image import Image
    from torch import Tensor

    from openflextok.tokenizer import Tokenizer

    Decode = Callable[[Tensor], list[Image]]

MOST = 256
AT_ONCE = 16  # images decoded


def generate(
    *,
    label: Annotated[list[str] | None, Parameter(negative=())] = None,
    caption: Annotated[list[str] | None, Parameter(negative=())] = None,
    count: Annotated[int, Parameter(name=("--count", "-n"))] = 4,
    length: int | None = None,
    out: Annotated[Path, Parameter(name=("--out", "-o"))] = Path("generated.png"),
    preview: bool = False,
    generator: str | None = None,
    tokenizer: str | None = None,
    guidance: str = "default",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    steps: str | None = None,
    seed: int = 0,
) -> None:
    """Generate images token by token and write them as one picture: a row per label or caption.

    Parameters
    ----------
    label
        A class by name or number; may be repeated. `openflextok info GENERATOR` lists the names.
    caption
        What to show, in words; may be repeated. Neither: images without a condition.
    count
        Images for each label or caption.
    length
        Tokens per image; all if not given.
    out
        The PNG to write.
    preview
        Show each image after 1, 2, 4, ... tokens instead: a row per image, coarse to fine; the picture is written anew
        as the columns come.
    generator
        A built-in name, a folder or a Hub id; the embedded one for labels or captions if not given.
    tokenizer
        Where the generator's tokenizer is, if no longer where the generator says; its fingerprint is checked.
    guidance
        default, a scale (1: none), or FIRST:LAST for scales that change evenly from the first token to the last.
    temperature
        Below 1: safer tokens; 0: the likeliest.
    top_k
        Only the k likeliest.
    top_p
        Only the likeliest with this sum of probabilities.
    min_p
        Only those with this share of the likeliest one's probability.
    steps
        Solver steps of the decoder: a number, or fast, balanced, best; balanced if not given.
    seed
        Image i gets seed + i, for its tokens and for the decoder's noise.
    """
    from rich.progress import track

    from openflextok import catalog
    from openflextok import checkpoint as checkpoints
    from openflextok.cli.common import decode_options, device
    from openflextok.cli.outputs import check_file, save_png
    from openflextok.pixels import to_pil

    if label and caption:
        raise ValueError("labels and captions do not go together: give one of --label and --caption")
    conditions = [number_or_name(text) for text in label] if label else caption or [None]
    total = len(conditions) * count
    if count < 1 or total > MOST:
        raise ValueError(f"cannot make {total} images in one picture: give 1 to {MOST}, as --count for each condition")
    check_file(out, ".png")
    model = checkpoints.load_generator(generator or (catalog.DEFAULT_CAPTIONS if caption else None), device=device())
    decoder = checkpoints.load(tokenizer or model.config.tokenizer, device=device())
    model.check_tokenizer(decoder)
    options = decode_options(decoder, steps=steps)
    length = model.num_tokens if length is None else length
    wanted = [condition for condition in conditions for _ in range(count)]
    stream = model.stream(
        labels=wanted if label else None,
        captions=[str(words) for words in wanted] if caption else None,
        count=total,
        length=length,
        guidance=parse_scales(guidance, length),
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        seed=seed,
    )

    def decode(ids: Tensor) -> list[Image]:
        pictures: list[Image] = []
        for start in range(0, len(ids), AT_ONCE):
            part = ids[start : start + AT_ONCE]
            seeds = [seed + start + i for i in range(len(part))]
            pictures += to_pil(decoder.decode(part, **options, seed=seeds))
        return pictures

    show = _previews if preview else _grid
    names = ["" if condition is None else str(condition) for condition in conditions]
    bar = track(stream, description="generating", total=length, transient=True)
    for picture in show(decoder, iter(bar), decode, names, count, length):
        save_png(picture, out)
    print(f"{total} images of {length} tokens in {out}")


def number_or_name(text: str) -> str | int:
    """A class number where the text is one."""
    return int(text) if text.isdecimal() else text


def parse_scales(text: str, length: int) -> float | list[float] | None:
    """'default', a number, or FIRST:LAST."""
    from openflextok.generators.sampling import ramp

    if text == "default":
        return None
    first, colon, last = text.partition(":")
    try:
        return ramp(float(first), float(last), length) if colon else float(first)
    except ValueError:
        raise ValueError(f"guidance {text!r} is not understood: give default, a number, or FIRST:LAST") from None


def _grid(
    tokenizer: Tokenizer, stream: Iterator[Tensor], decode: Decode, names: list[str], count: int, length: int
) -> Iterator[Image]:
    """All images once they are whole, a row per condition."""
    from collections import deque

    from openflextok.evaluate.pictures import picture_rows

    pictures = decode(deque(stream, maxlen=1).pop())
    yield picture_rows([(name, pictures[i * count : (i + 1) * count]) for i, name in enumerate(names)])


def _previews(
    tokenizer: Tokenizer, stream: Iterator[Tensor], decode: Decode, names: list[str], count: int, length: int
) -> Iterator[Image]:
    """A row per image, a column per prefix: one picture after each column."""
    from openflextok.cli.common import label_of
    from openflextok.evaluate.pictures import picture_grid, text_tile
    from openflextok.lengths import power_lengths

    shown, columns = power_lengths(length), []
    if any(names):
        columns.append(("", [text_tile(name, (96, tokenizer.image_size[0])) for name in names for _ in range(count)]))
    for ids in stream:
        if ids.shape[1] in shown:
            columns.append((label_of(tokenizer, ids.shape[1]), decode(ids)))
            yield picture_grid(columns)
