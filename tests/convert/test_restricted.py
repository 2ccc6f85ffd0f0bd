"""The restricted unpickler reads float arrays and runs nothing."""

import io
import pickle  # noqa: TID251 - makes the files that must be refused

import numpy as np
import pytest

from openflextok.convert.restricted import RestrictedUnpickler, read_numpy_pickle


class Evil:
    """Makes a file when it is unpickled by the ordinary means."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_call_raises_and_does_not_run(protocol, tmp_path):
    marker = tmp_path / "ran"
    data = pickle.dumps({"weights": Evil(marker)}, protocol=protocol)
    with pytest.raises(ValueError, match=r"refused to unpickle (_?io|builtins)\.open"):
        read_numpy_pickle(data)
    assert not marker.exists()
    pickle.loads(data)["weights"].close()  # the marker does tell: the ordinary unpickler runs it
    assert marker.exists()


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
def test_arrays_come_back_equal(protocol, dtype):
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(dtype)
    tree = {"a": {"c_order": values, "fortran": np.asfortranarray(values)}, "b": values[0, 0]}
    arrays = read_numpy_pickle(pickle.dumps(tree, protocol=protocol))
    assert sorted(arrays) == ["a.c_order", "a.fortran", "b"]
    for key, expected in (("a.c_order", values), ("a.fortran", values), ("b", values[0, 0])):
        np.testing.assert_array_equal(arrays[key], expected)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": np.array([{}, []], dtype=object)}, "'O8'"),
        ({"a": np.arange(3)}, "'i8'"),
        ({"a": np.array(["text"])}, "'U4'"),
        ({"a": np.float32(1)}, "multiarray.scalar"),
        ({"a": [1, 2]}, "refused list at 'a.'"),
        ([1, 2], "refused list at ''"),
        ({"a": eval}, r"builtins\.eval"),
    ],
)
def test_anything_else_is_refused(tree, message):
    with pytest.raises(ValueError, match=message):
        read_numpy_pickle(pickle.dumps(tree, protocol=4))


def test_external_references_are_refused():
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return "somewhere" if obj == "me" else None

    file = io.BytesIO()
    Pickler(file).dump(["me"])
    file.seek(0)
    with pytest.raises(ValueError, match="external reference 'somewhere'"):
        RestrictedUnpickler(file, {}).load()


def test_a_wrong_shape_is_refused():
    data = pickle.dumps({"a": np.zeros(4, "f4")}, protocol=4)
    with pytest.raises(ValueError, match="with 4 values"):
        read_numpy_pickle(data.replace(b"K\x04\x85", b"K\x05\x85"))
