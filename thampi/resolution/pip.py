"""What pip would choose, for the image's Python and platform: uv finds the versions, here, before any build.

The answer is complete and has each file's hash, so that the image installs it without asking what needs what. Files of
this machine, which no build can reach, are shipped: wheels of find-links and file:// indexes, and the wheels that are
made here of projects, archives and git repositories.
"""

import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from packaging.tags import Tag
from packaging.utils import canonicalize_name

from thampi import shipped
from thampi.dependencies.wanted import Dependencies, Indexes, Local
from thampi.errors import BuildError, ConfigError
from thampi.resolution import cpu_builds, failures, fetched, platforms, pylock, uv_command, wheels
from thampi.resolution.pylock import Chosen, File
from thampi.resolution.resolved import Distribution, Resolved
from thampi.resolution.wheels import Wheel

WHEELS = "/mnt/dependencies/wheels"  # where the build finds what is shipped
_HASH = re.compile(r"\s*--hash[=\s]+(?P<kind>\w+):(?P<digest>[0-9a-fA-F]+)")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class _Question:
    """All that uv is asked with, apart from the indexes."""

    lines: tuple[str, ...]
    constraints: tuple[str, ...]
    options: tuple[str, ...]
    python: str
    uv_platform: str
    fitting: list[Tag]
    environ: Mapping[str, str] = field(repr=False)
    left_out: tuple[str, ...] = ()  # names that somebody else installs
    preferred: Mapping[str, str] = field(default_factory=dict)


def resolve(
    dependencies: Dependencies,
    *,
    python: str,
    platform: str,
    environ: Mapping[str, str],
    say: Callable[[str], None],
    libc: tuple[int, int] = platforms.glibc(None),
    provided: Mapping[str, str] | None = None,
    preferred: Mapping[str, str] | None = None,
    cpu_index: str = cpu_builds.INDEX,
) -> Resolved:
    """Choose what the image installs with pip's rules, for Python `python` (3.11) on `platform` (linux/amd64).

    `libc` is the version of glibc that wheels may count on. `provided` is what is installed already, by name: those
    versions hold and are no part of the answer. `preferred` are versions that are kept where they still fit.

    Raises BuildError, with uv's words, for what can't be resolved, and ConfigError for what can't be read.
    """
    provided = provided or {}
    fitting = platforms.tags(platform, python, libc)
    say(f"choosing the versions for Python {python} on {platform}")
    _check_indexes(dependencies)
    made = {
        local: wheels.make(local, indexes=dependencies.indexes, fitting=fitting, environ=environ)
        for local in dependencies.local
    }
    with tempfile.TemporaryDirectory(prefix="thampi-wheels-") as temporary:
        folder = Path(temporary)
        for wheel in made.values():
            (folder / wheel.file).write_bytes(wheel.content)
        question = _Question(
            lines=(
                *(_HASH.sub("", line).strip() for line in dependencies.requirements),
                *(_line(local, wheel, folder) for local, wheel in made.items()),
            ),
            constraints=(
                *dependencies.constraints,
                *handler_constraints(),
                *(f"{name}=={version}" for name, version in provided.items()),
            ),
            options=dependencies.options,
            python=python,
            uv_platform=platforms.for_uv(platform, libc),
            fitting=fitting,
            environ=environ,
            left_out=tuple(provided),
            preferred=preferred or {},
        )
        chosen = _ask(question, dependencies.indexes)
        chosen, notes = _without_cuda(chosen, question, dependencies, platform, cpu_index)
    return _resolved(chosen, list(made.values()), dependencies, fitting, environ, notes)


def _ask(
    question: _Question, indexes: Indexes, more: Sequence[str] = (), constraints: Sequence[str] = ()
) -> list[Chosen]:
    """Have uv choose; raise what `failures.explain` makes of a refusal."""
    with tempfile.TemporaryDirectory(prefix="thampi-resolve-") as temporary:
        folder = Path(temporary)
        (folder / "requirements.in").write_text("".join(f"{line}\n" for line in question.lines), "utf-8")
        (folder / "constraints.txt").write_text(
            "".join(f"{line}\n" for line in (*question.constraints, *constraints)), "utf-8"
        )
        answer = folder / "pylock.toml"
        if question.preferred:
            answer.write_text(pylock.with_pins(question.preferred), "utf-8")
        words = [
            *("pip", "compile", "requirements.in", "--constraints", "constraints.txt", "--quiet"),
            *("--format", "pylock.toml", "--output-file", answer.name),
            *("--python-platform", question.uv_platform, "--python-version", question.python),
            *("--python", sys.executable, "--no-python-downloads", "--no-sources"),
            *uv_command.index_words(indexes, more),
            *_options(question.options),
            *(word for name in question.left_out for word in ("--no-emit-package", name)),
        ]
        done = uv_command.run(words, folder=folder, environ=question.environ, indexes=indexes)
        if done.returncode != 0:
            raise failures.explain(
                f"no versions can be chosen for Python {question.python} on {question.uv_platform}", done.stderr
            )
        return pylock.read(answer.read_text("utf-8"), question.fitting, folder)


def _check_indexes(dependencies: Dependencies) -> None:
    """Refuse to go on without an index that is there, but not for us."""
    indexes = dependencies.indexes
    names = [match[0] for line in dependencies.requirements if (match := _NAME.match(line))]
    if indexes.no_index or not names:
        return
    for url in filter(None, (indexes.index_url, *indexes.extra_index_urls)):
        if url.startswith("http") and fetched.refuses(url, canonicalize_name(names[0]), indexes):
            raise failures.private(url, is_known=urlsplit(url).hostname in indexes.credentials)


def _options(options: Sequence[str]) -> list[str]:
    """Return uv's words for pip's options: `--pre` has another name, and the others take one name each."""
    words: list[str] = []
    for option in options:
        name, _, value = option.replace("=", " ", 1).partition(" ")
        if name == "--pre":
            words += ["--prerelease", "allow"]
        elif name in ("--no-binary", "--only-binary"):
            words += [word for each in re.split(r"[,\s]+", value.strip()) for word in (name, each)]
    return words


def handler_constraints() -> list[str]:
    """Return what the handler can work with: its own libraries lie behind the user's."""
    text = (shipped.folder() / "handler/constraints.txt").read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _line(local: Local, wheel: Wheel, folder: Path) -> str:
    extras = f"[{','.join(local.extras)}]" if local.extras else ""
    marker = f" ; {local.marker}" if local.marker else ""
    return f"{wheel.name}{extras} @ {(folder / wheel.file).as_uri()}{marker}"


def _without_cuda(
    chosen: list[Chosen], question: _Question, dependencies: Dependencies, platform: str, cpu_index: str
) -> tuple[list[Chosen], list[str]]:
    """Choose again with the CPU's builds of torch where CUDA would come: Lambda has no GPU."""
    if not cpu_builds.would_help(chosen, dependencies):
        return chosen, []
    indexes = dependencies.indexes
    local = cpu_builds.local_pins(indexes.find_links, question.fitting)
    tries: list[tuple[list[str], list[str]]] = [([], local)] if local else []
    if not indexes.no_index:
        tries.append(([cpu_index], []))
    # A `pip freeze` names what CUDA's torch brought; who else needs that brings it again.
    left_out = [line for line in question.lines if cpu_builds.is_of_cuda(line)]
    question = replace(question, lines=tuple(line for line in question.lines if line not in left_out))
    refused = ""
    for more, constraints in tries:
        try:
            again = _ask(question, indexes, more, constraints)
        except BuildError as error:
            refused = error.message
            continue
        if not cpu_builds.has_cuda(again):
            return again, [cpu_builds.saved_note(chosen, again, indexes, left_out)]
    return chosen, [cpu_builds.kept_note(chosen, cpu_index, refused, indexes)]


def _resolved(
    chosen: list[Chosen],
    made: list[Wheel],
    dependencies: Dependencies,
    fitting: Sequence[Tag],
    environ: Mapping[str, str],
    notes: list[str],
) -> Resolved:
    allowed = _allowed(dependencies.requirements)
    by_file = {wheel.file: wheel for wheel in made}
    lines = [option for option in dependencies.options if option.startswith(("--no-binary", "--only-binary"))]
    distributions: list[Distribution] = []
    carried: dict[str, bytes | Path] = {}
    for each in sorted(chosen, key=lambda each: each.name):
        wheel = _ours(each, by_file, dependencies.indexes, fitting, environ)
        if wheel is not None:
            lines.append(f"{each.name} @ file://{WHEELS}/{wheel.file}  # from {wheel.source}")
            distributions.append(Distribution(each.name, wheel.version, size=len(wheel.content)))
            carried[wheel.file] = wheel.content
            continue
        files = _files(each, allowed.get(each.name), dependencies.indexes)
        if each.is_url and not files[0].is_here:
            lines.append(f"{each.name} @ {files[0].url} --hash=sha256:{files[0].sha256}")
        else:
            digests = sorted({file.sha256 for file in files})
            lines.append(" ".join([f"{each.name}=={each.version}", *(f"--hash=sha256:{digest}" for digest in digests)]))
        has_wheel = files[0].name.endswith(".whl")
        distributions.append(Distribution(each.name, each.version, has_wheel=has_wheel, size=files[0].size))
        if all(file.is_here for file in files):
            carried[files[0].name] = fetched.content(files[0], dependencies.indexes)
    return Resolved(tuple(lines), distributions=tuple(distributions), shipped=carried, notes=tuple(notes))


def _ours(
    each: Chosen, made: Mapping[str, Wheel], indexes: Indexes, fitting: Sequence[Tag], environ: Mapping[str, str]
) -> Wheel | None:
    """Return the wheel that was made here for a distribution; make that of a repository which another one asks for."""
    if each.source:
        local = Local(line=each.name, target=each.source, name=each.name)
        return wheels.make(local, indexes=indexes, fitting=fitting, environ=environ)
    return made.get(each.wheels[0].name) if each.is_url and each.wheels else None


def _files(each: Chosen, allowed: set[str] | None, indexes: Indexes) -> list[File]:
    """Return the files of a distribution that may be installed, best first and with their digests; else raise."""
    found = list(each.wheels) or ([each.sdist] if each.sdist else [])
    if allowed is not None:
        found = [file for file in (*each.wheels, each.sdist) if file is not None and file.sha256 in allowed]
        found = [file for file in found if file.name.endswith(".whl")] or found
    if not found:
        raise BuildError(
            f"{each.name} {each.version}: none of its hashes is that of a file which this Python and platform can use",
            hint="the hashes are of another platform, or don't fit: make the dependency file again with all of them "
            "(uv pip compile --universal --generate-hashes)",
        )
    found.sort(key=lambda file: file.is_here)  # what can be fetched first; otherwise as they were
    # Nothing is installed that was not seen here, so what an index does not say is found out.
    return [
        replace(file, sha256=file.sha256 or fetched.sha256(file, indexes), size=file.size or file.size_here)
        for file in found
    ]


def _allowed(requirements: Sequence[str]) -> dict[str, set[str]]:
    """Return the digests that the user's own lines allow, by name."""
    allowed: dict[str, set[str]] = {}
    for line in requirements:
        name, hashes = _NAME.match(line), list(_HASH.finditer(line))
        if not name or not hashes:
            continue
        kinds = {match["kind"] for match in hashes}
        if "sha256" not in kinds:
            raise ConfigError(
                f"{name[0]} has a hash of another kind than sha256, which no index can be asked for",
                hint="make the file again with sha256: uv pip compile --generate-hashes",
            )
        digests = {match["digest"].lower() for match in hashes if match["kind"] == "sha256"}
        allowed.setdefault(canonicalize_name(name[0]), set()).update(digests)
    return allowed
