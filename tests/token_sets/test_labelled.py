"""Token sets as what a probe learns from, and the command that reads them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from token_set_helpers import tiny

import openflextok as oft
from openflextok.cli.probe import probe
from openflextok.evaluate.report import read_measured, report_page
from openflextok.evaluate.results import Protocol, read_result
from openflextok.token_sets.labelled import labelled_tokens, probe_protocol
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
    result = read_result(tmp_path / "probe.json")
    assert [figure.length for figure in result.of("probe_accuracy")] == [1, 2, 4, 8]
    assert result.of("chance")[0].value == pytest.approx(1 / 3)
    assert result.of("probe_accuracy")[-1].value == 1.0  # 48 numbers a picture, more than there are pictures
    assert result.subject.fingerprint == open_token_set(tokens).fingerprint
    page = report_page(*read_measured([tmp_path / "probe.json"]))
    assert "Classes named right" in page and "Names and labels" in page and "<svg" in page


def test_the_card_is_of_the_pictures_and_not_of_their_tokens(
    tokenize: Callable[..., Path], pictures: Path, tmp_path: Path
) -> None:
    """Two tokenizers asked about the same pictures share a table; other pictures, labels or crops do not."""
    oft.save(tiny(seed=1), tmp_path / "other")
    fewer = shutil.copytree(pictures, tmp_path / "fewer")
    rows = [json.loads(line) for line in (fewer / "meta.jsonl").read_text().splitlines()]
    (fewer / "meta.jsonl").write_text("".join(json.dumps(row | {"label": "dog"}) + "\n" for row in rows))

    def card(name: str, known: dict[str, object] | None = None, **options: object) -> Protocol:
        sets = [open_token_set(tokenize(tmp_path / name / part, **given)) for part, given in
                (("known", options | (known or {})), ("asked", options))]  # fmt: skip
        learned, examined = map(labelled_tokens, sets)
        return probe_protocol(sets[0], learned, sets[1], examined)

    first = card("a")
    assert first == card("b", tokenizer=tmp_path / "other")
    for other in (card("c", data=fewer), card("d", {"crops": 2}), card("e", {"crops": 2, "seed": 1})):
        assert other != first
    assert card("f", {"crops": 2}) != card("g", {"crops": 2, "seed": 1})


def test_classes_that_were_not_learned_are_named(
    tokenize: Callable[..., Path], pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(pictures, tmp_path / "other")
    text = (other / "meta.jsonl").read_text()
    (other / "meta.jsonl").write_text(text.replace('"cat"', '"lynx"'))
    heldout = tokenize(tmp_path / "heldout", data=other)
    count = labelled_tokens(open_token_set(heldout)).labels.count("lynx")
    probe(str(tokenize(tmp_path / "tokens")), heldout=str(heldout), out=tmp_path / "probe.json")
    words = f"{count} of {len(labelled_tokens(open_token_set(heldout)).labels)} rows show a class that was not learned"
    assert count and f"note: {words}" in capsys.readouterr().out
    assert any(words in note for note in read_result(tmp_path / "probe.json").notes)


def test_tokens_of_another_tokenizer_are_refused(tokenize: Callable[..., Path], tmp_path: Path) -> None:
    oft.save(tiny(seed=1), tmp_path / "other")
    tokens = str(tokenize(tmp_path / "tokens"))
    with pytest.raises(ValueError, match="holds tokens of .* not of this tokenizer"):
        probe(tokens, heldout=tokens, tokenizer=str(tmp_path / "other"))
