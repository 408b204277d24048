"""The handler's Application behind a small real HTTP server, which fails as it is told to."""

import http.server
import json
import socket
import struct
import threading
import time
from collections import deque
from contextlib import contextmanager

from tests.handler import inprocess
from thampi import BadRequest, Model


class Flower(Model):
    """Echoes; refuses and fails when it is asked to. `asked` is what it was run on."""

    def __init__(self):
        self.asked = []

    def predict(self, args, context):
        self.asked.append(args)
        if args == "refuse":
            raise BadRequest("no such flower")
        if args == "fail":
            raise ValueError("secret of the model")
        return args


class Place:
    """What answers at `url`: the model, after the faults that were put into `faults`, one a request."""

    def __init__(self, model, about):
        self.model = model
        self.served = inprocess.serve(self.model, about)
        self.faults = deque()
        self.requests = []  # (method, path, headers) of each that came
        self.connections = 0  # that were opened

    def ask_model(self, method, path, body):
        """Return status, headers and body of the model's own answer."""
        event = inprocess.event("http-api-v2", path, method, body=body.decode())
        answer = self.served.ask(event)
        return answer["statusCode"], answer["headers"], answer["body"].encode()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.server.place.connections += 1

    def do_POST(self):
        place = self.server.place
        place.requests.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
        fault = place.faults.popleft() if place.faults else None
        if fault is not None and fault(self):
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(*place.ask_model(self.command, self.path, body))

    do_GET = do_POST

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def read(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def log_message(self, *_):
        pass


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """A caller that has gone is what the tests are about."""


@contextmanager
def serving(tls=None, model=None, about=inprocess.ABOUT):
    """Serve a model as `iris` until the block ends; `tls` is a context to do it under."""
    place = Place(model or Flower(), about)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.place = place
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        place.port = server.server_port
        place.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{place.port}/iris/predict"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield place
        server.shutdown()
        thread.join()


# ------------------------------------------------------------------------------------------------------------- faults


def answers(status, body, **headers):
    """Answer in the model's place, and keep the connection."""
    body = body.encode() if isinstance(body, str) else json.dumps(body).encode()

    def fault(handler):
        handler.read()
        handler.answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)
        return True

    return fault


def resets(handler):
    """Reset the connection once the request is there."""
    handler.read()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True
    return True


def hangs_up(handler):
    """Close the connection in order, and say nothing."""
    handler.read()
    handler.close_connection = True
    return True


def half(handler):
    """Send half of an answer."""
    handler.read()
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"properties": {}, "res')
    handler.close_connection = True
    return True


def half_in_chunks(handler):
    """Send a part of an answer whose length is not known, and no end."""
    handler.read()
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"pro\r\n')
    handler.close_connection = True
    return True


def speaks_no_http(handler):
    """Say something else."""
    handler.read()
    handler.wfile.write(b"220 mail.example.com ESMTP\r\n")
    handler.close_connection = True
    return True


def refuses_early(handler):
    """Refuse what is too large by its headers alone, and hang up while the body is still coming."""
    body = b'{"error": {"type": "too_large", "message": "5 MB is the most", "request_id": "r"}}'
    handler.answer(413, {"Content-Type": "application/json", "Connection": "close"}, body)
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_WR)
    time.sleep(0.2)
    handler.close_connection = True
    return True


def closes_after(handler):
    """Answer as the model does, and close the connection behind it without a word."""
    handler.close_connection = False
    body = handler.read()
    handler.answer(*handler.server.place.ask_model(handler.command, handler.path, body))
    handler.close_connection = True
    return True


def waits(seconds):
    """Answer late."""

    def fault(handler):
        time.sleep(seconds)
        return False

    return fault
