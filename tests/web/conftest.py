"""The web pages are tested on the audit's small workspace, the API on a studio of the credentials' tests."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

for room in ("audit", "credentials"):
    sys.path.append(str(Path(__file__).resolve().parents[1] / room))


@contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """Serve an app on a free port of 127.0.0.1 for real; the base URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
