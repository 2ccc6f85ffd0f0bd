"""Files of ids: what is written is read, however large the codebook."""

import pytest
import torch
from safetensors.torch import load_file

from openflextok.tokenfile import TokenFile, read_tokens, write_tokens


@pytest.mark.parametrize(
    ("codes", "bytes_each"), [(1 << 16, 2), ((1 << 16) + 1, 4), (1 << 31, 4), ((1 << 31) + 1, 8), (1 << 62, 8)]
)
def test_the_largest_ids_are_kept(codes, bytes_each, tmp_path):
    ids = torch.tensor([[codes - 1, 0, 3]] * 100)
    write_tokens(tmp_path / "t.safetensors", TokenFile(ids, ("a",) * 100, "0" * 16, "x"), codes)
    assert torch.equal(read_tokens(tmp_path / "t.safetensors").ids, ids)
    assert load_file(tmp_path / "t.safetensors")["ids"].element_size() == bytes_each
