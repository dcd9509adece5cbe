"""Who answered, put at the end of a JSON object without reading what may be many predictions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import lru_cache

from deployments.errors import BadAnswer

# White space after an object is a few bytes.
TAIL = 64


def with_names(content: bytes, model_name: str, version: int) -> bytes:
    """`{…}` with model_name and model_version as its last members."""
    text = content.strip()
    if not (text.startswith(b"{") and text.endswith(b"}") and len(text) > 2):
        raise no_prediction()
    return text[:-1] + ending(model_name, version)


async def named(pieces: AsyncIterator[bytes], model_name: str, version: int) -> AsyncIterator[bytes]:
    """The same for an object that comes in pieces; an end that is none raises before it is sent."""
    held = b""
    begun = False
    async for piece in pieces:
        held += piece
        if not begun and held.strip():
            if not held.lstrip().startswith(b"{"):
                raise no_prediction()
            begun = True
        if len(held) > TAIL:
            yield held[:-TAIL]
            held = held[-TAIL:]
    text = held.rstrip()
    if not (begun and text.endswith(b"}")):
        raise no_prediction()
    yield text[:-1] + ending(model_name, version)


@lru_cache(1024)
def ending(model_name: str, version: int) -> bytes:
    """What takes the closing brace's place."""
    names = {"model_name": model_name, "model_version": version}
    return b", " + json.dumps(names).encode()[1:]


def no_prediction() -> BadAnswer:
    """The model's process said something else."""
    return BadAnswer(
        "The model's process answered with something that is no prediction.", "See the endpoint's logs."
    )
