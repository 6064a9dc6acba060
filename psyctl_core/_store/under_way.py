"""How many requests are under way, in memory that outlives the process: a kill must not hide what they cost."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

SIZE = 8


class UnderWay:
    """A number in a file that is mapped into memory, so that setting it takes no time and a kill leaves it there.

    Args:
        path: The file; made where there is none. A link in its place is not followed.

    Raises:
        OSError: It cannot be opened or mapped.
    """

    def __init__(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        number = os.open(path, flags, 0o666)
        try:
            if os.fstat(number).st_size < SIZE:
                os.write(number, bytes(SIZE))
            self._bytes = mmap.mmap(number, SIZE)
        finally:
            os.close(number)

    def get(self) -> int:
        """The number as it was set last, by whichever process."""
        return int.from_bytes(self._bytes[:], "little")

    def set(self, number: int) -> None:
        """Set the number."""
        self._bytes[:] = number.to_bytes(SIZE, "little")

    def close(self) -> None:
        """Nothing is under way any more."""
        self.set(0)
        self._bytes.close()
