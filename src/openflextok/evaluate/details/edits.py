"""How far two readings of a word are from each other (V. I. Levenshtein, 1966)."""

from __future__ import annotations


def plain(text: str) -> str:
    """What counts of a reading: letters and digits, whatever their case."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def edit_distance(a: str, b: str) -> int:
    """The fewest letters to put in, take out or change that make one text of the other."""
    row = list(range(len(b) + 1))
    for number, letter in enumerate(a, 1):
        diagonal, row[0] = row[0], number
        for place, other in enumerate(b, 1):
            change = diagonal + (letter != other)
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, change)
    return row[-1]


def edit_similarity(a: str, b: str) -> float:
    """1 - distance / length of the longer text; 1 for two empty ones."""
    return 1 - edit_distance(a, b) / max(len(a), len(b), 1)
