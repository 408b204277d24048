"""Take the emulator for this machine out of the downloaded wheel: `emulator.py WHEEL_FOLDER TARGET`."""

import platform
import sys
import zipfile
from pathlib import Path

wheel, target = next(Path(sys.argv[1]).glob("*.whl")), Path(sys.argv[2])
architecture = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
target.write_bytes(zipfile.ZipFile(wheel).read(f"samcli/local/rapid/aws-lambda-rie-{architecture}"))
target.chmod(0o755)
