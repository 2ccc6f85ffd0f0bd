"""`openflextok evaluate probe`: what the first tokens of an image say of its class."""

from __future__ import annotations

from pathlib import Path


def probe(tokens: str, /, *, heldout: str, tokenizer: str | None = None, out: Path | None = None) -> None:
    """Fit a linear classifier on the first 1, 2, 4, ... tokens of labelled images, and ask it about held-out ones.

    A line for each number of tokens, as it is found.

    Parameters
    ----------
    tokens
        Labelled tokens to learn from, as `openflextok tokenize` writes them: a folder, or "FOLDER_A + FOLDER_B".
    heldout
        Tokens of other pictures, by the same tokenizer.
    tokenizer
        A built-in name, a folder or a Hub id; the one that the tokens name if not given.
    out
        A JSON to write the figures to.
    """
    import json

    from openflextok import checkpoint
    from openflextok.evaluate.probes import majority, probe_prefix
    from openflextok.files import write_atomic
    from openflextok.lengths import power_lengths
    from openflextok.token_sets.labelled import labelled_tokens
    from openflextok.token_sets.reader import open_token_set

    known, asked = open_token_set(tokens), open_token_set(heldout)
    model = checkpoint.load(tokenizer or known.tokenizer)
    for where, found in ((tokens, known), (heldout, asked)):
        if found.fingerprint != model.fingerprint():
            raise ValueError(f"{where} holds tokens of {found.tokenizer} ({found.fingerprint}), not of this tokenizer")
    learned, examined = labelled_tokens(known), labelled_tokens(asked)
    classes = len(set(learned.labels))
    often = majority(learned.labels, examined.labels)
    print(f"{len(learned.labels)} rows of {classes} classes; asked about {len(examined.labels)} held-out rows")
    print(f"chance {1 / classes:.1%}, the most frequent class {often.value:.1%}")
    rows: list[dict[str, object]] = [
        {"by": "chance", "accuracy": 1 / classes},
        {"by": "the most frequent class", **often.figures},
    ]
    for length in power_lengths(known.num_tokens):
        row = probe_prefix(model.quantizer, learned, examined, length)
        low, high = row.accuracy.interval
        print(f"{length:4d} tokens  {row.accuracy.value:6.1%} ({low:.1%} to {high:.1%})", f"top 5 {row.top5.value:.1%}")
        rows.append(
            {"by": "tokens", "length": length, **row.accuracy.figures, "top5": row.top5.value, "decay": row.decay}
        )
        if out is not None:
            about = {"tokens": tokens, "heldout": heldout, "tokenizer": known.fingerprint, "classes": classes}
            write_atomic(out, json.dumps({"format": "openflextok-probe-1", **about, "rows": rows}, indent=1) + "\n")
