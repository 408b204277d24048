"""Distributions in a `pip freeze` that no Linux image can have, whatever their version: they are left out, and said.

Each is built for another system only, and what needs it asks for it there only. Whoever froze an environment of Windows
or macOS has them without a marker, since pip freeze writes none.
"""

import re

_WHY = {
    "pywin32": "it is for Windows only",
    "pypiwin32": "it is for Windows only",
    "pywinpty": "it is for Windows only",
    "windows-curses": "it is for Windows only",
    "winkerberos": "it is for Windows only",
    "pkg-resources": "it is a mistake of Debian's pip freeze: no index has it",
}
_OF_MACOS = re.compile(r"pyobjc(-.+)?")


def reason(name: str) -> str | None:
    """Return why no image can have a distribution, by its canonical name; None when it may."""
    if _OF_MACOS.fullmatch(name):
        return "it is for macOS only"
    return _WHY.get(name)
