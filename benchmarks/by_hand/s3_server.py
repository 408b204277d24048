"""S3 as far as both sides ask for it: objects, and ranges of them, from the folder /objects."""

import http.server
import pathlib
import re


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = pathlib.Path("/objects", self.path.partition("?")[0].lstrip("/"))
        content = path.read_bytes() if path.is_file() else b""
        size, status, more = len(content), 200 if path.is_file() else 404, {}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and status == 200:
            first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
            content, status, more = content[first : last + 1], 206, {"Content-Range": f"bytes {first}-{last}/{size}"}
        self.send_response(status)
        more |= {"ETag": '"one"', "Last-Modified": "Sat, 21 Nov 2026 00:00:00 GMT"}
        for name, value in {"Content-Length": str(len(content)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("", 80), Handler).serve_forever()
