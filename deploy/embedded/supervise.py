"""Supervisord that outlives a full disk: `python -m deploy.embedded.supervise -c <configuration>`.

When a log cannot be written supervisord reports that on stderr, which is a file on the same disk; the second error
would end it, and with it the whole platform.
"""

import sys
from typing import IO

from supervisor.supervisord import main


class ForgivingStream:
    """A text stream whose failed writes are dropped."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text` if that is possible."""
        try:
            return self._stream.write(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        """Flush if that is possible."""
        try:
            self._stream.flush()
        except OSError:
            return

    def fileno(self) -> int:
        """The descriptor below."""
        return self._stream.fileno()


if __name__ == "__main__":
    sys.stdout, sys.stderr = ForgivingStream(sys.stdout), ForgivingStream(sys.stderr)
    main()
