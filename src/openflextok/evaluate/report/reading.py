"""Results as a report takes them: with the file they came from, a name of their own, and a style in plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from openflextok.evaluate.metric_names import ARMS, arm_of
from openflextok.evaluate.plots import COLOURS
from openflextok.evaluate.results import Figure, Network, Protocol, Result, ResultError, Setting, read_result

KINDS = {"tokenizer": "Tokenizers", "codec": "Codecs", "generator": "Generators"}


@dataclass(frozen=True)
class Measured:
    """A result, the file it came from, what the report calls it, and the number of its colour and marker."""

    path: Path
    result: Result
    name: str
    style: int

    @property
    def settings(self) -> str:
        """'steps 20, guidance none'."""
        return ", ".join(f"{setting.name} {setting.value}" for setting in self.result.subject.settings)

    def arms(self) -> list[Measured]:
        """The subject alone, then what else its result measured, each as a subject of its own."""
        figures: dict[str, list[Figure]] = {"": []}
        for figure in self.result.figures:
            arm, metric = arm_of(figure.metric)
            figures.setdefault(arm, []).append(replace(figure, metric=metric))
        return [
            Measured(
                self.path,
                replace(self.result, figures=tuple(found)),
                f"{self.name}: {ARMS.get(arm, arm)}" if arm else self.name,
                self.style + number * len(COLOURS),
            )
            for number, (arm, found) in enumerate(figures.items())
        ]


@dataclass(frozen=True)
class Column:
    """What may stand in one column: a metric, with the very network behind it."""

    metric: str
    network: Network | None


def read_measured(paths: Sequence[Path]) -> tuple[tuple[Measured, ...], tuple[str, ...]]:
    """Results in the order of KINDS, and one line for each file that is none; folders stand for their .json files.

    Raises ValueError for no files, and ResultError where none of them is a result.
    """
    if not paths:
        raise ValueError("no results given: name files that `openflextok evaluate` wrote")
    read: list[tuple[Path, Result]] = []
    refused: list[str] = []
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    for path in {file.resolve(): file for file in files}.values():
        try:
            read.append((path, read_result(path)))
        except ResultError as error:
            refused.append(str(error))
    if not read:
        found = (
            f"none of {len(refused)} files is a result; the first: {refused[0]}" if refused else "no .json files there"
        )
        raise ResultError(f"{found}: name files that `openflextok evaluate` wrote, or their folder")
    order = list(KINDS)
    read.sort(key=lambda one: order.index(one[1].subject.kind))
    names = distinct_names(read)
    styles = {name: style for style, name in enumerate(dict.fromkeys(names))}
    found = zip(read, names, strict=True)
    return tuple(Measured(path, result, name, styles[name]) for (path, result), name in found), tuple(refused)


def distinct_names(read: Sequence[tuple[Path, Result]]) -> list[str]:
    """The names of subjects; where those of one protocol share a name, with what tells them apart: settings, or files."""
    namesakes: dict[tuple[Protocol, str], list[set[Setting]]] = {}
    for _, result in read:
        namesakes.setdefault((result.protocol, result.subject.name), []).append(set(result.subject.settings))
    names = []
    for _, result in read:
        shared = set.intersection(*namesakes[result.protocol, result.subject.name])
        own = [f"{s.name} {s.value}" for s in result.subject.settings if s not in shared]
        names.append(", ".join([result.subject.name, *own]))
    counts = Counter((result.protocol, name) for name, (_, result) in zip(names, read, strict=True))
    return [
        f"{name} ({path.stem})" if counts[result.protocol, name] > 1 else name
        for name, (path, result) in zip(names, read, strict=True)
    ]


def by_protocol(measured: Sequence[Measured]) -> dict[Protocol, list[Measured]]:
    """Groups whose figures may be compared: reconstructions first, then as they came."""
    groups: dict[Protocol, list[Measured]] = {}
    for one in sorted(measured, key=lambda one: one.result.protocol.task != "reconstruct"):
        groups.setdefault(one.result.protocol, []).append(one)
    return groups


def columns_of(measured: Sequence[Measured]) -> tuple[Column, ...]:
    """The metrics of a group, in the order in which they first appear."""
    found = (Column(figure.metric, figure.network) for one in measured for figure in one.result.figures)
    return tuple(dict.fromkeys(found))
