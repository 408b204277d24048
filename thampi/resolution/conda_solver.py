"""Solve a conda environment, as a process of its own: the question is a file, the answer stands on stdout, both JSON.

It runs where py-rattler is, not where thampi is, so it imports nothing of ours. py-rattler's threads can abort an
interpreter that ends in the usual way (PyGILState_Release, version 0.28): it ends at once instead.
"""

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import rattler
from rattler.exceptions import GatewayError, InvalidMatchSpecError, SolverError
from rattler.package_streaming import PackageArchive

_AT_ONCE = 16
_METADATA = re.compile(r"(?:^|.*/)site-packages/([^/-]+)-([^/-]+)(?:-[^/]*)?\.(?:dist|egg)-info(?:/.*)?")


async def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Return `packages` in the order of installation, or `failed` (spec, channel, solve) with the words of it."""
    specs, wrong = [], {}
    for text in question["specs"]:
        try:
            specs.append(rattler.MatchSpec(text))
        except InvalidMatchSpecError as error:
            wrong[text] = str(error)
    if wrong:
        return {"failed": "spec", "specs": wrong}
    gateway, platforms = rattler.Gateway(), [question["subdir"], "noarch"]
    try:
        records = await rattler.solve(
            question["channels"],
            specs,
            gateway=gateway,
            platforms=platforms,
            constraints=question["constraints"],
            locked_packages=await _known(question["locked"], gateway, question["channels"], platforms),
            virtual_packages=[_virtual(*parts) for parts in question["virtual"]],
        )
    except SolverError as error:
        return {"failed": "solve", "said": str(error)}
    except GatewayError as error:
        return {"failed": "channel", "said": str(error)}
    by_name = {record.name.normalized: record for record in records}
    ordered = [by_name[record.name.normalized] for record in rattler.PackageRecord.sort_topologically(records)]
    gate = asyncio.Semaphore(_AT_ONCE)
    return {"packages": await asyncio.gather(*(_package(record, gate) for record in ordered))}


async def _known(files: list[str], gateway: Any, channels: list[str], platforms: list[str]) -> list[Any]:
    """Return the packages of an earlier answer, by file name, that channels still have: they stay where they fit."""
    names = {file.rsplit("-", 2)[0] for file in files}
    found = await gateway.query(channels, platforms, sorted(names), recursive=False) if names else []
    return [record for records in found for record in records if record.file_name in files]


def _virtual(name: str, version: str, build: str) -> rattler.GenericVirtualPackage:
    return rattler.GenericVirtualPackage(
        rattler.PackageName(name), rattler.Version(version), rattler.BuildString(build)
    )


async def _package(record: Any, gate: asyncio.Semaphore) -> dict[str, Any]:
    return {
        "name": record.name.normalized,
        "version": str(record.version),
        "file": record.file_name,
        "url": record.url,
        "sha256": record.sha256.hex() if record.sha256 else "",
        "size": record.size or 0,
        "python": await _distributions(record, gate),
    }


async def _distributions(record: Any, gate: asyncio.Semaphore) -> list[tuple[str, str]]:
    """Return the Python distributions that a package brings, as Python's own metadata will name them.

    conda's names are often others (pytorch is torch), so the package is asked for its list of files. Of a remote
    archive only that part is fetched; where that is impossible conda's own name has to do.
    """
    named = (record.name.normalized, str(record.version))
    needs = {spec.split()[0] for spec in record.depends}
    if record.name.normalized == "python" or not needs & {"python", "python_abi"}:
        return []
    if not record.url.startswith("file:") and not record.url.endswith(".conda"):
        return [named]
    try:
        async with gate:
            archive = await _open(record.url)
            paths = (await archive.paths_json()).paths
    except Exception:  # of py-rattler's several kinds: a server without ranges, an archive of a kind of its own
        return [named]
    found = {match.groups() for entry in paths if (match := _METADATA.fullmatch(Path(entry.relative_path).as_posix()))}
    return sorted((name, version) for name, version in found if name and version) or [named]


async def _open(url: str) -> PackageArchive:
    if url.startswith("file:"):
        return await PackageArchive.from_path(url2pathname(urlsplit(url).path))
    return await PackageArchive.from_url(rattler.Client.default_client(), url, sparse="require")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(answer(json.loads(Path(sys.argv[1]).read_text("utf-8"))))))
    sys.stdout.flush()
    os._exit(0)
