"""What the C library does with memory that was freed."""

import numpy as np

__all__ = ["keep_freed_memory"]

#: The largest block that glibc's threshold adapts to on 64-bit machines (mallopt(3)), less the block's own head.
_LARGEST = 32 * 2**20 - 8192


def keep_freed_memory() -> None:
    """Let glibc keep blocks of up to 32 MiB that are freed, rather than hand their pages back after each use.

    A model asks for the same few megabytes in every layer of every call. Blocks above a threshold come from the
    kernel, zeroed page by page, and go back there. glibc raises that threshold to the largest such block freed so far
    (mallopt(3), "dynamic mmap threshold"), which this frees without touching it: a setting that the user made, by
    `MALLOC_…` variables or `mallopt`, stays. Up to 64 MiB may then be kept, and what lies below a block that is still
    used. Other C libraries take no notice.

    Example:
        >>> keep_freed_memory()
    """
    np.empty(_LARGEST, np.uint8)
