"""An issuer of tokens, as real ones are: its keys are asked for over HTTP, and its tokens are signed with RS256."""

import base64
import contextlib
import http.server
import json
import threading
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa


class Issuer:
    """Gives tokens for one URL; anybody may have its public key."""

    def __init__(self, url):
        self.url = url
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def token(self, key=None, **claims):
        """Sign a token that holds for five minutes, with these claims; with another key it is a forgery."""
        now = int(time.time())
        # A second of doubt: two clocks of one machine may be read in another order.
        said = {"iss": self.url, "sub": "me", "iat": now - 1, "nbf": now - 1, "exp": now + 300} | claims
        parts = [_text({"alg": "RS256", "typ": "JWT", "kid": "one"}), _text(said)]
        signature = (key or self.key).sign(".".join(parts).encode(), padding.PKCS1v15(), hashes.SHA256())
        return ".".join([*parts, _base64(signature)])

    @property
    def documents(self):
        """What is asked for: the discovery document, and the keys that it names."""
        numbers = self.key.public_key().public_numbers()
        key = {
            "kty": "RSA",
            "kid": "one",
            "alg": "RS256",
            "use": "sig",
            "n": _number(numbers.n),
            "e": _number(numbers.e),
        }
        return {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}keys"},
            "/keys": {"keys": [key]},
        }


def other_key():
    """Return a key that nobody trusts."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@contextlib.contextmanager
def issuing():
    """Serve an issuer on this machine."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            found = issuer.documents.get(self.path)
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        issuer = Issuer(f"http://127.0.0.1:{server.server_port}/")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield issuer
        server.shutdown()
        thread.join()


def _text(value):
    return _base64(json.dumps(value).encode())


def _number(value):
    return _base64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _base64(value):
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
