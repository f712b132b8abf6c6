"""A server of HTTP for tests: files in memory, byte ranges, and the faults of servers."""

import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class Server:
    """Serves `files` (path -> content) on this machine, within a `with` block.

    `status` (path -> status) refuses, `cuts` (path -> list of lengths) breaks off replies one after the other,
    `pages` (path -> HTML) lists folders; `ranges` off ignores what part is asked for. `asked` counts requests.
    """

    def __init__(self, files: dict[str, bytes] | None = None, ranges: bool = True) -> None:
        self.files, self.ranges = files or {}, ranges
        self.status: dict[str, int] = {}
        self.cuts: dict[str, list[int]] = {}
        self.pages: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.starts: list[tuple[str, int]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.reply(self)

            do_HEAD = do_GET

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        self.asked[path] += 1
        match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        start = int(match[1]) if match and self.ranges else 0
        if path in self.pages:
            return self._send(request, 200, self.pages[path].encode(), {"Content-Type": "text/html"})
        if start >= len(self.files.get(path, b"0")):
            return self._send(request, 416, b"", {})
        if path in self.status or path not in self.files:
            return self._send(request, self.status.get(path, 404), b"no", {"Content-Type": "text/html"})
        data, headers = self.files[path], {"ETag": self.tags.get(path, '"1"'), "Content-Type": "application/x-tar"}
        if request.command == "GET":
            self.starts.append((path, start))
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(request, 206 if start else 200, data[start:], headers, self.cuts.get(path))

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, data: bytes, headers: dict[str, str],
        cuts: list[int] | None = None,
    ) -> None:  # fmt: skip
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(data[: cuts.pop(0)] if cuts else data)
            request.wfile.flush()
        if cuts is not None:
            request.close_connection = True
