"""A hub of its own for tests: the calls that an upload makes, over HTTP, kept in memory."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

COMMIT = {"authors": [{"user": "me"}], "date": "2025-01-01T00:00:00.000Z", "message": ""}


@dataclass
class Hub:
    """What was sent: repositories with their visibility, and the files of every branch."""

    address: str = ""
    created: list[tuple[str, bool]] = field(default_factory=list)
    started: dict[str, str | None] = field(default_factory=dict)
    """Branch -> the commit it was made from."""
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Branch -> path -> content."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, body: bytes) -> Any:
        """The hub's JSON; None for what it does not know."""
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"me/{asked['name']}"
            self.created.append((name, asked.get("visibility") == "private" or bool(asked.get("private"))))
            return {"url": f"{self.address}/{name}"}
        if path == "/api/whoami-v2":
            return {"name": "me", "type": "user", "orgs": [], "auth": {"type": "access_token"}}
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        found = re.fullmatch(r"/api/models/me/[\w.-]+/(\w+)/([^/]+)", path)
        if not found:
            return None
        what, branch = found[1], unquote(found[2])
        if what == "branch":
            self.started[branch] = json.loads(body or b"{}").get("startingPoint")
            return {}
        if what == "commits":
            return [{"id": "newest", "title": "b"} | COMMIT, {"id": "first", "title": "a"} | COMMIT]
        if what == "preupload":
            asked = [f["path"] for f in json.loads(body)["files"]]
            return {"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in asked]}
        if what == "commit":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.files.setdefault(branch, {})[line["value"]["path"]] = content
            return {"commitUrl": f"{self.address}/me/x/commit/0", "commitOid": "0" * 40, "hookOutput": ""}
        return None


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A hub on a free port of this machine."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            with hub.lock:
                found = hub.answer(self.command, self.path.partition("?")[0], body)
            text = json.dumps({"error": "not found"} if found is None else found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(text)

        do_GET = do_POST = do_HEAD = _reply  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield hub
        server.shutdown()
