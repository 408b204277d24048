"""Whom TLS connections believe: the certificates of AWS_CA_BUNDLE, or those of this system."""

import ssl
from collections.abc import Mapping
from pathlib import Path

from thampi.errors import BundleError

# Where systems keep them, for a Python that was built to look elsewhere: Debian, Red Hat, Alpine and macOS.
_USUAL = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


def context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return a context that verifies host and certificate; raise BundleError when the bundle can't be read."""
    file = environ.get("AWS_CA_BUNDLE") or environ.get("REQUESTS_CA_BUNDLE") or environ.get("SSL_CERT_FILE")
    if not file:
        known = ssl.get_default_verify_paths()
        if not (known.cafile or known.capath):
            file = next((path for path in _USUAL if Path(path).exists()), None)
    try:
        if file and Path(file).is_dir():
            return ssl.create_default_context(capath=file)
        return ssl.create_default_context(cafile=file or None)
    except OSError as error:  # ssl.SSLError is one
        raise BundleError(
            f"the certificates in {file} can't be read: {error.strerror or error}",
            hint="AWS_CA_BUNDLE names a file of certificates in PEM form; without it, those of the system are used",
        ) from error
