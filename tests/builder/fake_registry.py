"""A registry on localhost that an engine can really push to and pull from, and that refuses as ECR does."""

import base64
import contextlib
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EXPIRED = (403, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
NOT_AUTHORIZED = (
    403,
    "DENIED",
    "User: arn:aws:iam::123456789012:user/me is not authorized to perform: ecr:InitiateLayerUpload on resource: "
    "arn:aws:ecr:eu-central-1:123456789012:repository/thampi-iris because no identity-based policy allows the "
    "ecr:InitiateLayerUpload action",
)
UNKNOWN = (404, "NAME_UNKNOWN", "The repository with name 'x' does not exist in the registry with id '123456789012'")
UNAUTHORIZED = (401, "UNAUTHORIZED", "Not Authorized")


class Registry(ThreadingHTTPServer):
    """Knows one repository and one password; tags don't move."""

    daemon_threads = True

    def __init__(self, password, repository):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.password, self.repository = password, repository
        self.stale = set()  # passwords that were right once
        self.forbids = None  # what to answer to every upload
        self.manifests, self.blobs, self.logins = {}, {}, []
        self.bodies = {}  # of manifests, by digest: their media type and their bytes

    @property
    def uri(self):
        return f"localhost:{self.server_port}/{self.repository}"

    def refusal(self, path, authorization):
        """Say what speaks against a request, if anything."""
        _, _, secret = base64.b64decode((authorization or "").removeprefix("Basic ")).decode().partition(":")
        if not secret:
            return UNAUTHORIZED
        if secret not in self.logins[-1:]:
            self.logins.append(secret)
        if secret != self.password:
            return EXPIRED if secret in self.stale else UNAUTHORIZED
        if not path.startswith(f"/v2/{self.repository}/"):
            return UNKNOWN
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def _body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status, code, message):
        more = {"WWW_Authenticate": 'Basic realm="test"'} if status == 401 else {}
        self._answer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), **more)

    def _go(self):
        body, (path, _, query) = self._body(), self.path.partition("?")
        if path == "/v2/" and not self.headers.get("Authorization"):
            return self._refuse(*UNAUTHORIZED)
        if refusal := self.server.refusal(path, self.headers.get("Authorization")):
            return self._refuse(*refusal)
        *_, kind, last = path.split("/")
        if self.server.forbids and self.command != "HEAD":
            return self._refuse(*self.server.forbids)
        if kind == "manifests":
            return self._manifest(last, body)
        return self._blob(kind, last, query, body)

    def _blob(self, kind, last, query, body):
        if kind == "blobs":  # HEAD
            found = self.server.blobs.get(last)
            if found is None:
                return self._refuse(404, "BLOB_UNKNOWN", "blob unknown")
            return self._answer(200, found, Docker_Content_Digest=last)
        location = f"/v2/{self.server.repository}/blobs/uploads/1"
        if self.command == "PUT":
            digest = query.replace("%3A", ":").partition("digest=")[2].partition("&")[0]
            self.server.blobs[digest] = self.server.blobs.pop("", b"") + body
            return self._answer(201, Location=location, Docker_Content_Digest=digest)
        if self.command == "PATCH":
            self.server.blobs[""] = body
        return self._answer(202, Location=location, Docker_Upload_UUID="1", Range=f"0-{max(len(body) - 1, 0)}")

    def _manifest(self, tag, body):
        if self.command != "PUT":
            found = tag if tag in self.server.bodies else self.server.manifests.get(tag)
            if found is None:
                return self._refuse(404, "MANIFEST_UNKNOWN", "manifest unknown")
            kind, content = self.server.bodies[found]
            return self._answer(200, content, Content_Type=kind, Docker_Content_Digest=found)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if self.server.manifests.setdefault(tag, digest) != digest:
            words = f"The image tag '{tag}' already exists in the '{self.server.repository}' repository and cannot be "
            return self._refuse(400, "TAG_INVALID", words + "overwritten because the repository is immutable.")
        self.server.bodies[digest] = (self.headers["Content-Type"], body)
        return self._answer(201, Docker_Content_Digest=digest, Location=self.path)

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = _go


@contextlib.contextmanager
def running(password, repository):
    with Registry(password, repository) as registry:
        thread = threading.Thread(target=registry.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield registry
        finally:
            registry.shutdown()
            thread.join()
