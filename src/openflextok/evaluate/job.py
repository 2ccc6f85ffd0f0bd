"""A measurement that can be stopped at any time: any process makes any missing part, the last one combines them.

    plan -> [stretch of the reference -> part file] ... -> all parts -> Result and a picture

A part depends on the plan and its number alone, so a job that was killed and started again gives the same result.
Times of decoding are the exception: they are of the machine and the moment.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock
from PIL import Image

from openflextok.config import from_dict, to_dict
from openflextok.evaluate.measuring import Instruments
from openflextok.evaluate.parts import Part, Parts, part_path, write_part
from openflextok.evaluate.reference import Reference, ReferenceBatch
from openflextok.evaluate.results import Network, Protocol, Result, Subject, read_result, write_result
from openflextok.files import atomic_file, write_atomic
from openflextok.storage import is_whole

PLAN, LOCK = "plan.json", "lock"


@dataclass(frozen=True)
class Plan:
    """All that parts depend on."""

    protocol: Protocol
    subject: Subject
    weights: tuple[str, ...]
    """Hashes of all weights that made the images."""
    lengths: tuple[int, ...]
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    networks: tuple[Network, ...]
    batch: int
    """Images of a part."""


class Job(ABC):
    """A plan with what carries it out."""

    plan: Plan
    reference: Reference
    tools: Instruments

    @abstractmethod
    def part(self, stretch: ReferenceBatch) -> Part:
        """Everything measured of one stretch of the reference."""

    @abstractmethod
    def result(self, parts: Parts) -> tuple[Result, Image.Image | None]:
        """The figures of all parts, and pictures to look at."""

    @property
    def parts(self) -> int:
        return -(-len(self.reference) // self.plan.batch)


def start(folder: Path, plan: Plan) -> None:
    """Write the plan into a new or empty folder, or check that the folder holds parts of the same plan.

    Raises ValueError for a folder with other files, or naming what differs.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: give a new or an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        if not (folder / PLAN).is_file():
            if any(path.name != LOCK and not path.name.startswith(f".{PLAN}.") for path in folder.iterdir()):
                raise ValueError(f"{folder} holds other files: give a new or an empty folder")
            write_atomic(folder / PLAN, json.dumps(to_dict(plan), indent=1) + "\n")
            return
    changed = differing(from_dict(Plan, json.loads((folder / PLAN).read_text()), str(folder / PLAN)), plan)
    if changed:
        raise ValueError(
            f"{folder} holds another measurement, different in {'; '.join(changed)}: give the same command, another "
            "--out, or remove that folder"
        )


def differing(old: Any, new: Any, where: str = "") -> list[str]:
    """'name: old against new' for every entry of two plans that differs."""
    found: list[str] = []
    for entry in fields(old):
        one, other, name = getattr(old, entry.name), getattr(new, entry.name), f"{where}{entry.name}"
        if one == other:
            continue
        if is_dataclass(one):
            found += differing(one, other, f"{name}.")
        elif isinstance(one, tuple):
            found.append(f"{name}: {_entries(one, other)} against {_entries(other, one)}")
        else:
            found.append(f"{name}: {one!r} against {other!r}")
    return found


def _entries(entries: tuple[Any, ...], others: tuple[Any, ...]) -> str:
    """In words: of records (settings, networks) those that `others` does not have; all of anything else."""
    if set(entries) != set(others) and any(map(is_dataclass, (*entries, *others))):
        entries = tuple(" ".join(map(str, vars(entry).values())) for entry in entries if entry not in others)
    return ", ".join(map(str, entries)) or "nothing"


def check_out(out: Path) -> None:
    """Raise ValueError, before the work, for a result that could not be written, or whose pictures would replace it."""
    if out.suffix in (".parts", ".webp"):
        raise ValueError(f"{out}: parts and pictures have that ending: name the result .json")
    if out.is_dir():
        raise ValueError(f"{out} is a folder: name the file to write")
    above = next((folder for folder in out.parents if folder.exists()), None)
    if above is not None and not above.is_dir():
        raise ValueError(f"{out} cannot be written: {above} is a file, not a folder")


def check_result(out: Path, plan: Plan) -> None:
    """Raise ValueError where `out` is there and no result of this plan."""
    if not out.exists():
        return
    old = read_result(out)
    changed = differing(old.protocol, plan.protocol) + differing(old.subject, plan.subject)
    if changed:
        raise ValueError(
            f"{out} is the result of another measurement, different in {'; '.join(changed)}: give another --out, or remove it"
        )


def missing(folder: Path, job: Job) -> list[int]:
    """Numbers of the parts that are not there yet, or damaged."""
    return [number for number in range(job.parts) if not is_whole(part_path(folder, number))]


def run(
    job: Job, folder: Path, out: Path, tick: Callable[[int], None] = lambda images: None, rank: int = 0, world: int = 1
) -> Result | None:
    """Make the missing parts of process `rank` of `world`, then, if none is missing, combine all into `out`.

    `tick` hears of images as they are done. None: other processes still have parts to make.
    """
    check_out(out)
    start(folder, job.plan)
    batch = job.plan.batch
    for number in missing(folder, job):
        if number % world == rank:
            for stretch in job.reference.batches(batch, start=number * batch, end=(number + 1) * batch):
                write_part(folder, number, job.part(stretch))
                tick(len(stretch.places) + len(stretch.unreadable))
    with FileLock(folder / LOCK):
        return None if missing(folder, job) else combine(job, folder, out)


def combine(job: Job, folder: Path, out: Path) -> Result:
    """Write the result and its picture beside each other."""
    result, picture = job.result(Parts(folder, job.parts))
    if picture is not None:
        beside = out.with_suffix(".webp")
        with atomic_file(beside) as temporary:
            picture.save(temporary, format="WEBP", quality=80, method=6)
        result = replace(result, pictures=beside.name)
    write_result(out, result)
    return result
