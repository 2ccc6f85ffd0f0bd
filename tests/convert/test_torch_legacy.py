"""The reader of old torch files gives what torch wrote, and runs nothing."""

import io
from collections import OrderedDict

import pytest
import torch

from openflextok.convert.torch_legacy import read_legacy_state_dict


def legacy(state: object) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def test_tensors_come_back_equal():
    base = torch.arange(24.0).view(4, 6)
    state = OrderedDict(whole=base, turned=base.T, part=base[1:3, 2:], count=torch.tensor(7), none=torch.zeros(0))
    read = read_legacy_state_dict(legacy(state))
    assert list(read) == list(state)
    for name, expected in state.items():
        assert torch.equal(read[name], expected)
        assert read[name].dtype == expected.dtype


class Evil:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_call_raises_and_does_not_run(tmp_path):
    marker = tmp_path / "ran"
    with pytest.raises(ValueError, match="refused to unpickle"):
        read_legacy_state_dict(legacy({"weight": torch.ones(2), "evil": Evil(marker)}))
    assert not marker.exists()


def test_other_types_and_formats_are_refused():
    with pytest.raises(ValueError, match=r"torch\.HalfStorage"):
        read_legacy_state_dict(legacy({"weight": torch.ones(2).half()}))
    with pytest.raises(ValueError, match="flat state dict"):
        read_legacy_state_dict(legacy({"weights": {"a": torch.ones(2)}}))
    with pytest.raises(ValueError, match="not a torch file"):
        read_legacy_state_dict(b"\x80\x02K\x01.")
