"""What the requests that one process holds at once may take of it: bytes of bodies, and places for each person."""

from __future__ import annotations

from common.errors import Busy
from deployments.errors import TooMany


class Bodies:
    """Bytes of all bodies that came for requests that are not answered yet."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    def take(self, size: int) -> None:
        """So many more; whatever comes of it, they are to be let go. Busy when they are too many."""
        self._held += size
        if self._held > self._most:
            raise Busy(
                f"The gateway holds {self._held} bytes of requests, and takes at most {self._most}.",
                "Try again.",
                retry_after=1,
            )

    def let_go(self, size: int) -> None:
        """Their request is answered."""
        self._held -= size


class Places:
    """One person's requests at once, of all their tokens: so that nobody alone takes all places of the process."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    def enter(self) -> None:
        """One more request, which is to leave. TooMany when there is no place for it, and then it has none."""
        if self._taken >= self._most:
            raise TooMany(
                f"You have {self._taken} requests at once at this gateway, the most for one person.",
                "Wait for answers, or send more rows in each request.",
                retry_after=1,
            )
        self._taken += 1

    def leave(self) -> None:
        """It is answered."""
        self._taken -= 1
