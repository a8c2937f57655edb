"""What the embedded platform says to the person at the terminal, and how it gives up."""

import sys


class CannotStart(Exception):
    """The platform cannot start or stop; the message is one or two sentences that say why and what to do."""


def say(text: str) -> None:
    """Write one line to the terminal at once, also through a pipe."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
