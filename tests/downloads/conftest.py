"""A web server on loopback, and public datasets that lie there."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from muomni_cli.api import Download, RemoteFile
from muomni_cli.data import public_datasets
from muomni_cli.registry import sets
from muomni_cli.registry.loading import Plugin, PluginInfo
from muomni_cli.registry.registry import Registry, get_registry


@dataclass
class Web:
    """What the server has and does.

    Args:
        files: content by path.
        cut: after how many bytes the next answer of a path breaks off.
        ranges: whether it understands Range requests.
        asked: path and Range header of each request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def put(self, path: str, content: bytes, *, right: bool = True, checked: bool = True) -> RemoteFile:
        """Serve a file; its declaration, with a wrong checksum or none if asked for."""
        self.files[path] = content
        digest = hashlib.sha256(content if right else b"another").hexdigest()
        return RemoteFile(url=self.url + path, size=len(content), sha256=digest if checked else None)


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    served = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            served.asked.append((self.path, asked))
            content = served.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            match = re.fullmatch(r"bytes=(\d+)-", asked or "") if served.ranges else None
            start = int(match[1]) if match else 0
            self.send_response(206 if match else 200)
            if match:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:][: served.cut.pop(self.path, len(content))])

        def log_message(self, *_: Any) -> None:
            pass

    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data folder."""
    monkeypatch.setenv("MUOMNI_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


Declare = Callable[..., Download]


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """``declare(name, paths, files, **fields)``: a public dataset of a plugin, beside the built-in ones."""
    plugin = Plugin(PluginInfo("mine", "mine", "1", "mine.py", "loaded"))
    registry = Registry([*get_registry().plugins, plugin])
    for module in (sets, public_datasets):
        monkeypatch.setattr(module, "get_registry", lambda: registry)

    def declared(name: str, paths: tuple[str, ...], files: tuple[RemoteFile, ...], **fields: Any) -> Download:
        told = {"doc": "a small one", "license": "CC0", "license_url": "https://example.org/"} | fields
        plugin.parts.append(Download(name=name, paths=paths, files=files, **told))
        return plugin.parts[-1]  # type: ignore[return-value]

    return declared
