"""Two faults of OpenCV's block-quantised ONNX files, put right in the bytes: no ONNX library is needed.

    graph inputs        float weights are listed although quantised ones replace them: runtimes would ask for them
    DequantizeLinear    a block size stands beside a single scale, which has no blocks: runtimes refuse it

A message of protocol buffers is a row of (field, wire type, content); only those on the way to the faults are opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

GRAPH = 7  # of a model
NODE, INITIALIZER, INPUT = 1, 5, 11  # of a graph
NODE_INPUT, OPERATOR, ATTRIBUTE = 1, 4, 5  # of a node
DIMS, TENSOR_NAME = 1, 8  # of a tensor
NAME = 1  # of inputs and attributes
VARINT, MESSAGE = 0, 2  # wire types
FIXED = {1: 8, 5: 4}  # wire type -> bytes


@dataclass(frozen=True)
class Field:
    """One field: `content` is its message or text, empty for numbers; `raw` is all of it with its tag."""

    number: int
    content: bytes
    raw: bytes


def fields(message: bytes) -> Iterator[Field]:
    """The fields of a message, in order; ValueError where it is none."""
    place = 0
    while place < len(message):
        begin = place
        tag, place = _number(message, place)
        kind, content = tag & 7, b""
        if kind == VARINT:
            _, place = _number(message, place)
        elif kind == MESSAGE:
            size, place = _number(message, place)
            content, place = message[place : place + size], place + size
        elif kind in FIXED:
            place += FIXED[kind]
        else:
            raise ValueError(f"not an ONNX file: wire type {kind} at byte {begin}")
        if place > len(message):
            raise ValueError(f"not a whole ONNX file: it ends within a field at byte {begin}")
        yield Field(tag >> 3, content, message[begin:place])


def repaired(model: bytes) -> bytes:
    """The model with the graph's first input alone, and without block sizes where there are no blocks."""
    return b"".join(_written(GRAPH, _graph(f.content)) if f.number == GRAPH else f.raw for f in fields(model))


def _graph(graph: bytes) -> bytes:
    parts = list(fields(graph))
    single = {_first(f.content, TENSOR_NAME) for f in parts if f.number == INITIALIZER and _is_single(f.content)}
    kept, inputs = [], 0
    for part in parts:
        inputs += part.number == INPUT
        if part.number == INPUT and inputs > 1:
            continue
        kept.append(_written(NODE, _node(part.content, single)) if part.number == NODE else part.raw)
    return b"".join(kept)


def _node(node: bytes, single: set[bytes]) -> bytes:
    """A node; a dequantisation by a scale of one number loses its block size."""
    parts = list(fields(node))
    inputs = [f.content for f in parts if f.number == NODE_INPUT]
    if _first(node, OPERATOR) != b"DequantizeLinear" or inputs[1] not in single:
        return node
    return b"".join(f.raw for f in parts if f.number != ATTRIBUTE or _first(f.content, NAME) != b"block_size")


def _is_single(tensor: bytes) -> bool:
    """Whether a tensor is a number or a list of one; its dimensions are written one by one."""
    return [f.raw[1:] for f in fields(tensor) if f.number == DIMS] in ([], [b"\x01"])


def _first(message: bytes, number: int) -> bytes:
    return next((f.content for f in fields(message) if f.number == number), b"")


def _number(message: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    value = shift = 0
    while place < len(message):
        byte, place = message[place], place + 1
        value, shift = value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value, place
    raise ValueError("not a whole ONNX file: it ends within a number")


def _written(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | MESSAGE) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
