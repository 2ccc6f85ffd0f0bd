"""Token sets as what a probe learns from, and the command that reads them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from token_set_helpers import tiny

import openflextok as oft
from openflextok.cli.probe import probe
from openflextok.token_sets.labelled import labelled_tokens
from openflextok.token_sets.reader import open_token_set


def test_rows_with_a_label_are_kept_with_their_pictures(tokenize: Callable[..., Path], tmp_path: Path) -> None:
    tokens = open_token_set(tokenize(tmp_path / "tokens", crops=2))
    found = labelled_tokens(tokens)
    by_hand = [(tokens.label(row), tokens.key(row), tokens.ids([row])[0].tolist()) for row in range(len(tokens))]
    by_hand = [row for row in by_hand if row[0] is not None]
    assert 0 < len(by_hand) < len(tokens)
    assert list(zip(found.labels, found.pictures, found.ids_NK.tolist(), strict=True)) == by_hand
    assert len(set(found.pictures)) == len(by_hand) / 2


def test_a_probe_that_is_asked_what_it_learned_knows_it(
    tokenize: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = tokenize(tmp_path / "tokens")
    capsys.readouterr()
    probe(str(tokens), heldout=str(tokens), out=tmp_path / "probe.json")
    assert "3 classes" in capsys.readouterr().out
    rows = json.loads((tmp_path / "probe.json").read_text())["rows"]
    assert [row.get("length") for row in rows] == [None, None, 1, 2, 4, 8]
    assert rows[0]["accuracy"] == pytest.approx(1 / 3)
    assert rows[-1]["accuracy"] == 1.0  # 48 numbers a picture, more than there are pictures


def test_tokens_of_another_tokenizer_are_refused(tokenize: Callable[..., Path], tmp_path: Path) -> None:
    oft.save(tiny(seed=1), tmp_path / "other")
    tokens = str(tokenize(tmp_path / "tokens"))
    with pytest.raises(ValueError, match="holds tokens of .* not of this tokenizer"):
        probe(tokens, heldout=tokens, tokenizer=str(tmp_path / "other"))
