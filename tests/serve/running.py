"""Runs a server in a thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

from muomni_serve.app import make_app
from muomni_serve.server import GracefulServer, listening
from muomni_serve.service import Service, open_service
from muomni_serve.settings import ServeSettings

LONG = "The quick brown fox jumps over the lazy dog. " * 85  # minutes of speech


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    url: str
    service: Service
    wyoming: str = ""  # where that protocol is served

    @property
    def waiting(self) -> int:
        """Requests that wait or run."""
        return sum(model.worker.waiting for model in self.service.models.values())


@contextmanager
def serving(**settings: Any) -> Iterator[Served]:
    """A server with these settings, until the context ends."""
    chosen = ServeSettings(**{"models": {"nano": "nano"}, "port": 0, "grace": 0.0, **settings})
    with listening(chosen) as opened:
        service = open_service(chosen)
        server = GracefulServer(make_app(service), service)
        thread = Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        until(lambda: server.started, "the server listens")
        host, port = opened.getsockname()[:2]
        try:
            yield Served(f"http://{host}:{port}", service, server.wyoming.uri if server.wyoming is not None else "")
        finally:
            server.should_exit = True
            server._loop.call_soon_threadsafe(service.stop)  # type: ignore[union-attr]
            thread.join(20)
            service.close()
    assert not thread.is_alive(), "the server has ended"


def until(holds: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait for something that other threads do."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"in vain: {what}"
        time.sleep(0.01)
