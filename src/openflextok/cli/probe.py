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
        The JSON to write, which `openflextok report` shows.
    """
    from openflextok import checkpoint
    from openflextok.cli.evaluate import short_name
    from openflextok.cli.outputs import check_file
    from openflextok.evaluate.probes import majority, probe_prefix
    from openflextok.evaluate.results import Figure, Result, Setting, Subject, write_result
    from openflextok.lengths import power_lengths
    from openflextok.token_sets.labelled import labelled_tokens, probe_protocol
    from openflextok.token_sets.reader import open_token_set

    if out is not None:
        check_file(out, ".json")
    known, asked = open_token_set(tokens), open_token_set(heldout)
    model = checkpoint.load(tokenizer or known.tokenizer)
    for where, found in ((tokens, known), (heldout, asked)):
        if found.fingerprint != model.fingerprint():
            raise ValueError(f"{where} holds tokens of {found.tokenizer} ({found.fingerprint}), not of this tokenizer")
    learned, examined = labelled_tokens(known), labelled_tokens(asked)
    classes = set(learned.labels)
    often = majority(learned.labels, examined.labels)
    notes = [
        f"learned from {len(learned.labels)} rows of {len(classes)} classes, of {len(set(learned.pictures))} pictures",
        "intervals: 95 %, Wilson's, which takes the rows asked about for independent",
    ]
    unseen = sum(label not in classes for label in examined.labels)
    if unseen:
        notes.append(f"{unseen} of {len(examined.labels)} rows show a class that was not learned: always wrong")
        print(f"note: {notes[-1]}")
    print(f"{len(learned.labels)} rows of {len(classes)} classes; asked about {len(examined.labels)} held-out rows")
    print(f"chance {1 / len(classes):.1%}, the most frequent class {often.value:.1%}")
    figures = [
        Figure("chance", 1 / len(classes), often.n),
        Figure("most_frequent", often.value, often.n, *often.interval),
    ]
    settings = (Setting("classifier", "linear, on the values of tokens, its decay chosen on a fifth of the pictures"),)
    name = short_name(tokenizer or known.tokenizer)
    protocol = probe_protocol(known, learned, asked, examined)
    subject = Subject(name, "tokenizer", known.fingerprint, settings)
    for length in power_lengths(known.num_tokens):
        row = probe_prefix(model.quantizer, learned, examined, length)
        low, high = row.accuracy.interval
        print(f"{length:4d} tokens  {row.accuracy.value:6.1%} ({low:.1%} to {high:.1%})", f"top 5 {row.top5.value:.1%}")
        for metric, share in (("probe_accuracy", row.accuracy), ("probe_top5", row.top5)):
            figures.append(Figure(metric, share.value, share.n, *share.interval, length=length))
        notes.append(f"decay at {length} tokens: {row.decay:g}")
    if out is not None:
        write_result(out, Result(protocol, subject, tuple(figures), tuple(notes)))
