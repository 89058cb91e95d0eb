"""The rate limit: a burst up to a minute's share, then as much as trickles in; each client for itself."""

import asyncio

from starlette.types import Message, Receive, Scope, Send

from pipeline.web.rates import CLIENTS, UPLOAD_COST, RateLimit


class Clock:
    """Seconds, as the test sets them."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def _pages(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def ask(limit: RateLimit, address: str = "10.0.0.1", method: str = "GET") -> tuple[int, str]:
    """Status and Retry-After of one request."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    asyncio.run(limit({"type": "http", "method": method, "client": (address, 1)}, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]).get(b"retry-after", b"").decode()


def test_a_client_may_spend_a_minute_at_once_and_then_waits() -> None:
    clock = Clock()
    limit = RateLimit(_pages, 60, clock)
    assert [ask(limit)[0] for _ in range(60)] == [200] * 60
    assert ask(limit) == (429, "2")
    assert ask(limit, "10.0.0.2")[0] == 200
    clock.now = 2.0
    assert [ask(limit)[0] for _ in range(3)] == [200, 200, 429]


def test_an_upload_counts_for_ten() -> None:
    limit = RateLimit(_pages, 60, Clock())
    assert [ask(limit, method="POST")[0] for _ in range(7)] == [200] * (60 // UPLOAD_COST) + [429]
    assert ask(limit)[0] == 429


def test_clients_are_forgotten_rather_than_remembered_without_end() -> None:
    limit = RateLimit(_pages, 60, Clock())
    for number in range(CLIENTS + 50):
        limit._wait(str(number), 1)
    assert len(limit.buckets) == CLIENTS
