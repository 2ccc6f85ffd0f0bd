"""Token sets as what a probe learns from."""

from __future__ import annotations

from openflextok.evaluate.probes import LabelledTokens
from openflextok.token_sets.reader import TokenSet


def labelled_tokens(tokens: TokenSet) -> LabelledTokens:
    """The rows that have a label, each with its picture; ValueError where none has."""
    labels = [tokens.label(row) for row in range(len(tokens))]
    rows = [row for row, label in enumerate(labels) if label is not None]
    if not rows:
        raise ValueError("no row of these tokens has a label: tokenize a source with labels, as folders named by class")
    return LabelledTokens(
        tokens.ids(rows), [label for label in labels if label is not None], [tokens.key(row) for row in rows]
    )
