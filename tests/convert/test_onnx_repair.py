"""What onnxruntime refuses of block-quantised files runs after the repair, and gives what the numbers say."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from openflextok.convert.onnx_repair import fields, repaired
from openflextok.nets.onnx import OnnxNetwork

FLOAT, INT8 = 1, 3


def varint(value: int) -> bytes:
    return bytes([value & 127 | 128]) + varint(value >> 7) if value > 127 else bytes([value])


def message(number: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return varint(number << 3 | 2) + varint(len(content)) + content


def integer(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def tensor(name: bytes, array: np.ndarray, kind: int) -> bytes:
    dims = b"".join(integer(1, side) for side in array.shape)
    return message(5, dims, integer(2, kind), message(8, name), message(9, array.tobytes()))


def value(number: int, name: bytes, side: int) -> bytes:
    shape = message(2, message(1, integer(1, side)))
    return message(number, message(1, name), message(2, message(1, integer(1, FLOAT), shape)))


def node(operator: bytes, inputs: tuple[bytes, ...], output: bytes, *attributes: bytes) -> bytes:
    return message(1, *(message(1, name) for name in inputs), message(2, output), message(4, operator), *attributes)


def attribute(name: bytes, number: int) -> bytes:
    return message(5, message(1, name), integer(3, number), integer(20, 2))


def make_model(*scales: float) -> bytes:
    """x + dequantise(q): with a block size beside the scales, and the float weight among the inputs."""
    axis, block = attribute(b"axis", 0), attribute(b"block_size", 64)
    graph = message(
        7,
        node(b"DequantizeLinear", (b"q", b"s", b"z"), b"w", axis, block),
        node(b"Add", (b"x", b"w"), b"y"),
        message(2, b"graph"),
        tensor(b"q", np.array([3, -5], np.int8), INT8),
        tensor(b"s", np.array(scales, np.float32), FLOAT),
        tensor(b"z", np.array([1], np.int8), INT8),
        value(11, b"x", 2),
        value(11, b"weight", 2),
        value(12, b"y", 2),
    )
    return integer(1, 10) + graph + message(8, integer(2, 21))


def test_the_repaired_model_runs():
    model = make_model(0.5)
    with pytest.raises(Exception, match="block_size"):
        session = onnxruntime.InferenceSession(model)
        session.run(None, {"x": np.zeros(2, np.float32), "weight": np.zeros(2, np.float32)})
    network = OnnxNetwork("tiny", repaired(model), "12" * 32)
    found = network(np.array([10, 20], np.float32))
    assert list(found) == ["y"] and found["y"].tolist() == [11.0, 17.0] and network.sha256 == "12" * 32


def test_scales_of_blocks_keep_their_block_size():
    assert b"block_size" in repaired(make_model(0.5, 2.0)) and b"block_size" not in repaired(make_model(0.5))
    assert b"".join(field.raw for field in fields(make_model(0.5))) == make_model(0.5)
    assert repaired(repaired(make_model(0.5))) == repaired(make_model(0.5))


def test_what_is_no_file_is_named():
    for damaged in (make_model(0.5)[:-1], b"\xff", b"\x0b"):
        with pytest.raises(ValueError, match="ONNX file"):
            repaired(damaged)
    with pytest.raises(ValueError, match="tiny is not an ONNX network"):
        OnnxNetwork("tiny", b"", "12" * 32)
