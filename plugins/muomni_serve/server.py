"""Runs the application until a signal asks it to stop: answers that are under way may end, within the grace period."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette

from muomni_cli.api import MuomniError, console, stopping
from muomni_serve.app import make_app
from muomni_serve.service import Service, open_service
from muomni_serve.settings import ServeSettings

if TYPE_CHECKING:
    from muomni_serve.wyoming_server import WyomingServer

LAST_WORDS = 1.0  # seconds in which the errors of answers that did not end are sent
# Seconds that a thread may run Python while others wait, a tenth of the default: a model's thread that comes back from
# a graph of a millisecond would often wait for longer than the graph took.
SWITCH_INTERVAL = 0.0005


class GracefulServer(uvicorn.Server):
    """Tells the service when the grace period after a signal is over."""

    def __init__(self, app: Starlette, service: Service) -> None:
        settings = service.settings
        super().__init__(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ws="websockets-sansio",
                ws_max_size=settings.max_body,
                http="h11",
                lifespan="off",
                timeout_keep_alive=30,
                timeout_graceful_shutdown=round(settings.grace + LAST_WORDS + 0.5),
                h11_max_incomplete_event_size=65_536,
            )
        )
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None
        self.wyoming = wyoming_of(service)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Remembers the loop for the signal handler, and begins to listen for Wyoming."""
        self._loop = asyncio.get_running_loop()
        if self.wyoming is not None:
            await self.wyoming.start()
            console.say(f"serving Wyoming on {self.wyoming.uri}")
            if not _is_loopback(self.wyoming.host):
                console.say("warning: everybody who reaches this address can use the server: Wyoming has no key")
        await super().startup(sockets=sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the connections of Wyoming too."""
        if self.wyoming is not None:
            await self.wyoming.close()
        await super().shutdown(sockets=sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called for a signal: no more requests are taken."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.call_later, self._service.settings.grace, self._service.stop)


def wyoming_of(service: Service) -> WyomingServer | None:
    """The server of the Wyoming protocol, if there is to be one. RequestError for a wrong address."""
    if not service.settings.wyoming:
        return None
    from muomni_serve.wyoming_server import WyomingServer

    return WyomingServer(service, service.settings.wyoming)


def listening(settings: ServeSettings) -> socket.socket:
    """A socket on the address. MuomniError if it cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise MuomniError(
            f"{settings.host} is not an address of this machine: {error}", "give another --host"
        ) from error
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(1024)
    except OSError as error:
        opened.close()
        what = f"{settings.host}:{settings.port} cannot be listened on: {error.strerror or error}"
        raise MuomniError(what, "give another --port, or end the program that uses it") from error
    return opened


def run(settings: ServeSettings) -> None:
    """Serve until a signal comes. Errors as of :func:`muomni_cli.load`; MuomniError if the address cannot be had."""
    logging.basicConfig(format="%(name)s: %(message)s")
    opened = listening(settings)
    with opened:
        service = open_service(settings)
        address = _address(opened)
        if not settings.api_key and not _is_loopback(settings.host):
            console.say("warning: everybody who reaches this address can use the server: set --api-key")
        console.say(f"serving {', '.join(service.models)} on {address}/v1 (Ctrl-C stops)")
        server = GracefulServer(make_app(service), service)
        sys.setswitchinterval(SWITCH_INTERVAL)
        with stopping.handled_otherwise():
            server.run(sockets=[opened])
        service.close()


def _address(opened: socket.socket) -> str:
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
