"""Texts that requests may carry: PostgreSQL refuses NUL, and a control character in a name is never meant."""

from typing import Annotated

from pydantic import AfterValidator, StringConstraints


def _without_control_characters(text: str) -> str:
    if any(not character.isprintable() for character in text):
        raise ValueError("must not contain control characters or line breaks")
    return text


Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_without_control_characters)]
"""A name for people: 1 to 200 printable characters."""

Reason = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=3, max_length=500),
    AfterValidator(_without_control_characters),
]
"""A reason in a person's words, kept on record: 3 to 500 printable characters."""

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
"""The id of an artifact or job, or the name of a preset: letters, digits, hyphen and underscore."""

ImageName = Annotated[
    str, StringConstraints(min_length=1, max_length=1000), AfterValidator(_without_control_characters)
]
"""The name of an image in a set, or its file name without ending."""
