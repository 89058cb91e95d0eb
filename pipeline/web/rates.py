"""A limit on how often each client may ask, by token buckets; uploads cost more than pages."""

import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

UPLOAD_COST = 10  # requests that one upload counts for: its watermark is searched
CLIENTS = 10_000  # that are remembered; the least recent is forgotten


class RateLimit:
    """Answer 429 with Retry-After to a client (by address) that asks more than `per_minute` requests a minute."""

    def __init__(self, app: ASGIApp, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self.per_minute, self.clock = app, per_minute, clock
        self.buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address: requests left, when that was

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http":
            cost = UPLOAD_COST if scope["method"] == "POST" else 1
            if wait := self._wait((scope.get("client") or ("", 0))[0], cost):
                text = "Too many requests; try again later."
                await PlainTextResponse(text, 429, {"retry-after": str(wait)})(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _wait(self, address: str, cost: int) -> int:
        """Take `cost` from a client's bucket; seconds to wait when it does not hold so much."""
        moment = self.clock()
        left, since = self.buckets.pop(address, (float(self.per_minute), moment))
        left = min(float(self.per_minute), left + (moment - since) * self.per_minute / 60)
        missing = cost - left
        self.buckets[address] = (left if missing > 0 else left - cost, moment)
        if len(self.buckets) > CLIENTS:
            self.buckets.popitem(last=False)
        return 0 if missing <= 0 else int(missing * 60 / self.per_minute) + 1
