"""A question to a serving process as it goes over the wire."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.upstream import Address

PREDICT = "/predict"


@dataclass(frozen=True, slots=True)
class Question:
    """One request as it is passed on."""

    method: str
    path: str
    content: bytes
    request_id: bytes

    @property
    def predicts(self) -> bool:
        """Whether it asks for predictions: what does not says nothing about how busy the model is, or how well it does."""
        return self.method == "POST"

    @property
    def named(self) -> bool:
        """Whether its answer bears the names of model and version."""
        return self.path == PREDICT


def head_of(question: Question, address: Address, key: str, length: int | None = -1) -> bytes:
    """The head of the request; `length` None sends its body in chunks."""
    lines = (
        f"{question.method} {address.path}{question.path} HTTP/1.1\r\n"
        f"Host: {address.host}:{address.port}\r\n"
        f"X-Serving-Key: {key}\r\n"
        f"X-Request-ID: {question.request_id.decode()}\r\n"
    )
    if length is None:
        return f"{lines}Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return (
        f"{lines}Content-Type: application/json\r\nContent-Length: {len(question.content)}\r\n\r\n".encode()
    )
