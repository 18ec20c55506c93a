"""A hub of one dataset per way to refuse it: metadata and errors as huggingface.co gives them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "90b8e5be2b1d3d2dbfe016cdab47981150600c4a"
GATED = {
    "X-Error-Code": "GatedRepo",
    "X-Error-Message": "Access to this dataset is restricted. You must be authenticated to access it.",
}
# What of a repository is refused, by the repository's name: metadata or files, status, headers.
REFUSALS: dict[str, tuple[str, int, dict[str, str]]] = {
    "files-401": ("files", 401, GATED),  # no token
    "files-403": ("files", 403, GATED),  # a token whose account has not accepted the terms
    "all-401": ("all", 401, {}),  # a mirror; huggingface_hub takes it for a repository that is not there
    "all-403": ("all", 403, {}),
    "bad-token": ("all", 401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
}


class _Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        metadata = self.path.startswith("/api/")
        what, status, headers = next(
            (refused for name, refused in REFUSALS.items() if f"/{name}" in self.path), REFUSALS["files-401"]
        )
        if what == "all" or not metadata:
            self._answer(status, b"", headers)
            return
        repo = "/".join(self.path.removeprefix("/api/datasets/").split("/")[:2])
        about = {"id": repo, "sha": COMMIT, "gated": "auto", "tags": [], "private": False, "downloads": 0}
        about["siblings"] = [{"rfilename": name} for name in ("README.md", "gpqa_diamond.csv")]
        self._answer(200, json.dumps(about).encode(), {"Content-Type": "application/json"})

    do_HEAD = do_GET  # noqa: N815 - the library's spelling

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the screen."""


@contextmanager
def stand_in_hub() -> Iterator[str]:
    """Its address, for HF_ENDPOINT."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
