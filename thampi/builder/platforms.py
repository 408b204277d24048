"""Whether the engine can build for a platform, found out before the long part: its own, emulated, or not at all."""

import secrets
import struct
from collections.abc import Callable

from thampi.builder import build, failures
from thampi.builder.client import Client
from thampi.errors import BuildError
from thampi.recipe import Recipe

# The machine's number in an ELF file, and the program `exit(0)`: https://man7.org/linux/man-pages/man5/elf.5.html
_MACHINES = {
    "linux/amd64": (62, bytes.fromhex("31ff b83c000000 0f05")),  # xor edi, edi; mov eax, 60; syscall
    "linux/arm64": (183, bytes.fromhex("000080d2 a80b80d2 010000d4")),  # mov x0, 0; mov x8, 93; svc 0
}
_HEADERS, _ADDRESS = 64 + 56, 0x400000


def check(client: Client, platform: str, say: Callable[[str], None]) -> None:
    """Raise BuildError, within a second, when the engine can't run programs of `platform`; say so when it emulates.

    Nobody lists this reliably: on Linux it is a matter of the kernel, which may be another machine's, and of how an
    emulator was registered; so a program of twelve bytes is run.
    """
    own = _own(client)
    if own == platform:
        return
    name = f"thampi-emulation:{secrets.token_hex(6)}"
    recipe = Recipe(
        dockerfile='FROM scratch\nCOPY --chmod=0755 emulated /emulated\nRUN ["/emulated"]\n',
        platform=platform,
        files={"emulated": program(platform) + secrets.token_bytes(8)},  # never the one that a cache remembers
    )
    try:
        build.build(recipe, name, client=client, show=lambda line: None)
    except BuildError as error:
        if "/emulated" not in error.message:
            raise
        raise BuildError(
            f"the image is for {platform}, the engine is {own}, and it has no emulation of the other",
            hint=f'set build.platform to "{own}" (the function follows it), or install the emulation: '
            f"docker run --privileged --rm tonistiigi/binfmt --install {platform.removeprefix('linux/')} "
            "(on Debian and Ubuntu: apt install qemu-user-static)",
        ) from None
    client.run("rmi", "--force", name)
    say(f"the engine is {own}, so {platform} is emulated: several times slower, the same result")


def program(platform: str) -> bytes:
    """Return a whole program for `platform` that does nothing but end well."""
    machine, code = _MACHINES[platform]
    size = _HEADERS + len(code)
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)  # 64 bits, little-endian, version 1
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, _ADDRESS + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _ADDRESS, _ADDRESS, size, size, 0x10000)
    return identity + header + segment + code


def _own(client: Client) -> str:
    asked = client.run("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}")
    if asked.returncode != 0:
        raise failures.no_engine(asked.stderr)
    return asked.stdout.strip()
