"""`openflextok evaluate text` and `openflextok evaluate faces`: words that stay legible, faces that stay recognisable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openflextok.evaluate.details.checks import Check
    from openflextok.evaluate.reconstruct import Wanted
    from openflextok.evaluate.reference import Reference
    from openflextok.tokenizer import Tokenizer


def text(
    tokenizer: str,
    data: str | None = None,
    /,
    *,
    words: int = 32,
    words_seed: int = 0,
    lengths: str | None = None,
    seeds: str = "0",
    steps: str | None = None,
    guidance: str | None = None,
    limit: int = 0,
    batch_size: int = 16,
    out: Path | None = None,
) -> None:
    """Read words in the originals, in the latent space alone and after 1, 2, 4, ... tokens, by their height.

    Without DATA the words are drawn: the same ones at 1/16, 1/8, 1/4 and 1/2 of the height, on plain colours and photos.
    Needs onnxruntime (`pip install 'openflextok[eval]'`) and, on the first call, a package registry. Killed and started
    again, it goes on.

    Parameters
    ----------
    tokenizer
        A built-in name, a folder or a Hub id.
    data
        Photos in which words are found: a folder (`FOLDER#SPLIT`), .tar shards, `hf:NAME:SPLIT` or `builtin:NAME:SPLIT`.
    words
        Drawn words; each gives eight pictures.
    words_seed
        Of the choice, place and ground of drawn words.
    lengths
        Tokens kept, as 1,2,4,16; powers of two and all of them if not given.
    seeds
        Of the decoder's noise, as 0,1,2: figures are means over them, with their standard deviation.
    steps
        Solver steps: a number, or fast, balanced, best; the decoder's own if not given.
    guidance
        none, a number, cfg:SCALE or apg:SCALE; the decoder's own if not given.
    limit
        So many photos only, evenly spaced; 0 means all.
    batch_size
        Pictures at a time, and of a part of the work.
    out
        The JSON to write; its pictures (.webp) and its parts (.parts) lie beside it.
    """
    from openflextok import checkpoint as checkpoints
    from openflextok.cli.common import device
    from openflextok.cli.evaluate import short_name, wanted_of
    from openflextok.evaluate.details.reader import TextReader
    from openflextok.evaluate.details.sheets import RenderedWords
    from openflextok.evaluate.details.words import photographed_check, rendered_check
    from openflextok.evaluate.reference import Reference

    model = checkpoints.load(tokenizer, device=device())
    wanted = wanted_of(model, lengths, seeds, steps, guidance, batch_size)
    if data is None:
        drawn = RenderedWords(model.image_size, words, words_seed)
        reference = Reference(f"rendered words (seed {words_seed})", model.image_size, limit, drawn)
        check = rendered_check(TextReader.load(), drawn, reference)
    else:
        reference, check = Reference(data, model.image_size, limit), photographed_check(TextReader.load())
    file = out or Path(f"text-{short_name(tokenizer)}-{'rendered' if data is None else short_name(data)}.json")
    measure_details(short_name(tokenizer), model, reference, wanted, check, file)


def faces(
    tokenizer: str,
    data: str,
    /,
    *,
    lengths: str | None = None,
    seeds: str = "0",
    steps: str | None = None,
    guidance: str | None = None,
    limit: int = 0,
    batch_size: int = 16,
    out: Path | None = None,
) -> None:
    """Compare each face of the originals with itself in the latent space alone and after 1, 2, 4, ... tokens, by height.

    Needs onnxruntime (`pip install 'openflextok[eval]'`) and, on the first call, a package registry. Killed and started
    again, it goes on.

    Parameters
    ----------
    tokenizer
        A built-in name, a folder or a Hub id.
    data
        Photos of people: a folder (`FOLDER#SPLIT`), .tar shards, `hf:NAME:SPLIT` or `builtin:NAME:SPLIT`.
    lengths
        Tokens kept, as 1,2,4,16; powers of two and all of them if not given.
    seeds
        Of the decoder's noise, as 0,1,2: figures are means over them, with their standard deviation.
    steps
        Solver steps: a number, or fast, balanced, best; the decoder's own if not given.
    guidance
        none, a number, cfg:SCALE or apg:SCALE; the decoder's own if not given.
    limit
        So many photos only, evenly spaced; 0 means all.
    batch_size
        Pictures at a time, and of a part of the work.
    out
        The JSON to write; its pictures (.webp) and its parts (.parts) lie beside it.
    """
    from openflextok import checkpoint as checkpoints
    from openflextok.cli.common import device
    from openflextok.cli.evaluate import short_name, wanted_of
    from openflextok.evaluate.details.face_networks import FaceNetworks
    from openflextok.evaluate.details.faces import FaceCheck
    from openflextok.evaluate.reference import Reference

    model = checkpoints.load(tokenizer, device=device())
    wanted = wanted_of(model, lengths, seeds, steps, guidance, batch_size)
    reference, check = Reference(data, model.image_size, limit), FaceCheck(FaceNetworks.load())
    file = out or Path(f"faces-{short_name(tokenizer)}-{short_name(data)}.json")
    measure_details(short_name(tokenizer), model, reference, wanted, check, file)


def measure_details(
    subject: str, model: Tokenizer, reference: Reference, wanted: Wanted, check: Check[Any], out: Path
) -> None:
    """Measure, with a bar, and say what came of it."""
    from openflextok.cli.evaluate import measure, survey
    from openflextok.evaluate.details.job import DetailJob

    measure(DetailJob(subject, model, reference, survey(reference), wanted, check), out)
