"""What the first tokens of an image say of its class: a linear probe on their values, by length.

python benchmarks/token_probe.py TOKENS --heldout TOKENS [--name NAME]    writes results/token_probe.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from common import write

import openflextok as oft
from openflextok.evaluate.probes import Share, majority, probe_prefix
from openflextok.lengths import power_lengths
from openflextok.token_sets.labelled import labelled_tokens
from openflextok.token_sets.reader import open_token_set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokens")
    parser.add_argument("--heldout", required=True)
    parser.add_argument("--name", help="how to call the data in the results")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results" / "token_probe.json")
    options = parser.parse_args()
    train, heldout = (labelled_tokens(open_token_set(where)) for where in (options.tokens, options.heldout))
    quantizer = oft.load(open_token_set(options.tokens).tokenizer).quantizer
    classes = len(set(train.labels))
    about = {"data": options.name or options.heldout, "classes": classes, "training_rows": len(train.labels)}
    rows: list[dict[str, object]] = []

    def note(by: str, share: Share, **values: object) -> None:
        rows.append(about | {"by": by} | share.figures | values)
        print(rows[-1], flush=True)
        write(options.out, "token_probe", rows)

    rows.append(about | {"by": "chance", "accuracy": 1 / classes})
    note("the most frequent class", majority(train.labels, heldout.labels))
    for length in power_lengths(train.ids_NK.shape[1]):
        found = probe_prefix(quantizer, train, heldout, length)
        note("tokens", found.accuracy, length=length, top5=found.top5.value, decay=found.decay)


if __name__ == "__main__":
    main()
