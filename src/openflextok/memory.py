"""The process's memory allocator, tuned for tensors on a CPU."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # mallopt(3)


def keep_freed_memory() -> None:
    """Keep the memory of freed tensors for the next ones, instead of giving it back to the system each time.

    By default glibc maps every large tensor anew and the system clears its pages: in a training step of
    `flextok-mini` on a CPU that was 43 % of the time. Call it once, before the first large tensor; it does nothing
    elsewhere than on Linux with glibc. The command does so by itself; a program of your own may.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 2**28)
