"""What every request and answer is held to: a size limit on bodies, and strict headers."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


class BodyLimit:
    """Refuse bodies of more than `maximum` bytes with 413, whether or not their length is announced."""

    def __init__(self, app: ASGIApp, maximum: int) -> None:
        self.app, self.maximum = app, maximum

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is received, and stop reading at the limit."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = HTTPException(413, f"The file is larger than {self.maximum / 2**20:g} MB.")
        announced = Headers(scope=scope).get("content-length", "")
        received = int(announced) if announced.isdecimal() else 0
        too_large = received > self.maximum
        received = 0

        async def counted() -> Message:
            nonlocal received
            if too_large:
                raise refusal
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.maximum:
                raise refusal
            return message

        await self.app(scope, counted, send)


class SecurityHeaders:
    """Set a strict Content-Security-Policy (where the answer has none of its own) and its companions."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to the start of each answer."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", POLICY)
                headers["x-content-type-options"] = "nosniff"
                headers["referrer-policy"] = "no-referrer"
                headers["cross-origin-resource-policy"] = "same-origin"
                headers["cache-control"] = "no-store"
            await send(message)

        await self.app(scope, receive, guarded)
