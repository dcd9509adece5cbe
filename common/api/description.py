"""What the API's description says beside what the generator finds."""

from __future__ import annotations

from typing import Any


def close_requests(result: dict[str, Any], **about: Any) -> dict[str, Any]:
    """Says that bodies take no fields but theirs (`check_known`); answers may get more, which clients pass over.

    COMPONENT_SPLIT_REQUEST has the generator describe what is sent by components of its own, which it calls …Request.
    """
    for name, component in result["components"]["schemas"].items():
        if name.endswith("Request") and component.get("type") == "object":
            component["additionalProperties"] = False
    return result
