"""thampi build: bundle + dependency file -> recipe -> image, tried; what is built already is not built again.

The order: read what is asked for; take thampi.lock's answer or choose a new one; check it against the bundle; make the
recipe. Nothing of this needs an engine but a base image whose digest is not known yet. Only then the long part begins.
"""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from thampi import dependencies, names, recipe, system_packages
from thampi.builder import base as docker_base
from thampi.builder import build as docker_build
from thampi.builder import client as docker_client
from thampi.builder import platforms, smoke
from thampi.config import Stage
from thampi.dependencies import Dependencies
from thampi.errors import BuildError, ConfigError
from thampi.operations import baked
from thampi.operations.run import Libraries
from thampi.recipe import Recipe
from thampi.resolution import answer, checks, uv_command
from thampi.resolution.answer import Asked
from thampi.resolution.resolved import Resolved
from thampi.runtime import bundle, loading, origins
from thampi.runtime.bundle import About

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What will be built: decided before any engine works on it."""

    about: About
    base: Recipe
    model: Recipe
    reference: str  # of the model's image
    python: str  # the minor version
    asked: Asked
    resolved: Resolved
    project_files: Mapping[str, Path]  # that ship as files, by their path in the project
    notes: tuple[str, ...]
    manifest_sha256: str  # of the thampi.json that was read: it vouches for the model
    baked_bytes: int  # of the model where it is in the image; 0: it isn't


def plan(
    stage: Stage,
    *,
    environ: Mapping[str, str] = os.environ,
    say: Say = lambda sentence: None,
    refresh: bool = False,
    write: bool = True,
    must_build: bool = False,
) -> Plan:
    """Decide what the image is made of.

    While thampi.lock answers what is asked, nobody else is. Otherwise versions are chosen, which asks the indexes, and
    the lock is written, unless `write` is false; `refresh` takes newer versions and a newer base image. With
    `must_build` a missing engine is a failure at once.

    Raises ConfigError or BundleError for what can't become an image, BuildError when no versions can be chosen.
    """
    manifest, about = _read(stage.model_dir)
    asked = ask(stage, about, environ)
    wanted, include = asked.dependencies, stage.build.include
    project_files = recipe.project_files(include, stage.project_dir)  # a mistake there is found before anything slow
    model_files = _baked(stage, manifest, about)
    resolved, base_image = answer.get(
        asked,
        environ=environ,
        say=say,
        pin=functools.partial(
            _pin, platform=asked.platform, environ=environ, refresh=refresh, must=refresh or must_build
        ),
        refresh=refresh,
        write=write,
    )
    title, is_conda = wanted.title, wanted.manager == "conda"
    apt, apt_notes = _apt(stage, resolved)
    notes = (
        *wanted.notes,
        *resolved.notes,
        *checks.versions(
            resolved,
            about.distributions,
            title,
            needed=lambda: origins.distributions_of(about.modules),
            is_conda=is_conda,
        ),
        *checks.wheels(resolved, asked.platform),
        *apt_notes,
    )
    base = recipe.make_base(asked.python, asked.platform, base_image)
    model = recipe.make(
        base,
        resolved,
        title=title,
        apt=apt,
        include=include,
        project_dir=stage.project_dir,
        model=model_files,
    )
    baked_bytes = baked.size_bytes(model_files)
    if baked_bytes:
        baked.check_size(baked_bytes, _download_bytes(resolved))
    return Plan(
        about=about,
        base=base,
        model=model,
        reference=names.image(stage.name, model.digest),
        python=asked.python,
        asked=asked,
        resolved=resolved,
        project_files=project_files,
        notes=notes,
        manifest_sha256=hashlib.sha256(manifest).hexdigest(),
        baked_bytes=baked_bytes,
    )


def check(stage: Stage, *, environ: Mapping[str, str] = os.environ) -> None:
    """Find the mistakes that `plan` would, as far as files alone can show them; nobody is asked."""
    manifest, about = _read(stage.model_dir)
    ask(stage, about, environ)
    recipe.project_files(stage.build.include, stage.project_dir)
    baked.check_size(baked.size_bytes(_baked(stage, manifest, about)), 0)


def ask(stage: Stage, about: About, environ: Mapping[str, str]) -> Asked:
    """Read what the image is asked to have; raise ConfigError with every mistake in it."""
    python = _python(stage, about)
    settings = stage.build
    wanted = dependencies.read(
        settings.dependency_file,
        about.distributions,
        environ=environ,
        project_dir=stage.project_dir,
        extras=settings.extras,
    )
    _check_manager(stage, wanted)
    return Asked(
        dependencies=wanted,
        python=python,
        platform=settings.platform,
        base_image=settings.base_image or recipe.python_image(python),
        libc=answer.libc(settings.base_image),
        project_dir=stage.project_dir,
    )


def libraries(stage: Stage, *, environ: Mapping[str, str] = os.environ) -> Libraries:
    """Return what to install on this machine, where there is no image: the same requirements, chosen for it.

    Raises ConfigError or BundleError for what can't be read, and for a conda environment, which needs the image.
    """
    about = bundle.read(stage.model_dir)
    asked = ask(stage, about, environ)
    wanted = asked.dependencies
    if wanted.manager == "conda":
        raise ConfigError(
            f"{wanted.title} is a conda environment, which only an image can have",
            hint="run it in one: `thampi run` without --no-docker",
        )
    return Libraries(
        requirements=uv_command.requirement_lines(wanted),
        python=asked.python,
        project_files=recipe.project_files(stage.build.include, stage.project_dir),
        constraints=wanted.constraints,
        netrc=uv_command.netrc(wanted.indexes.credentials),
    )


def build(plan: Plan, *, environ: Mapping[str, str], say: Say, show: Callable[[str], None]) -> str:
    """Build the image unless the engine has it; return its reference.

    `say` gets a sentence for each thing that is done, `show` every line that the engine says meanwhile.
    """
    client = docker_client.find(environ)
    if docker_build.has(client, plan.reference):
        say(f"image {plan.reference} is there already: nothing to build")
        return plan.reference
    for note in plan.notes:
        say(note)
    platforms.check(client, plan.model.platform, say)
    secrets = _secrets(plan.asked.dependencies)
    base_reference = recipe.reference(recipe.BASE, plan.base)
    ground = plan.base.arguments["PYTHON_IMAGE"]
    has_base = docker_build.has(client, base_reference)
    if not has_base or docker_build.has(client, ground):  # nothing is pulled just to know how old it is
        old = docker_base.pin(client, ground, plan.model.platform).note(datetime.now(UTC))
        if old:
            say(old)
    if not has_base:
        say(f"building the base image on {ground} (once for all projects)")
        docker_build.build(plan.base, base_reference, client=client, show=show, secrets=secrets)
    if plan.baked_bytes:
        rest = docker_build.unpacked_bytes(client, base_reference) + _download_bytes(plan.resolved)
        baked.check_size(plan.baked_bytes, rest)
    shipped = answer.ship(plan.asked, plan.resolved, environ=environ, say=say)
    model = dataclasses.replace(plan.model, carried={**plan.model.carried, **recipe.carried(shipped)})
    say(f"building image {plan.reference}")
    check = functools.partial(
        smoke.check,
        about=plan.about,
        client=client,
        platform=plan.model.platform,
        model_dir=recipe.MODEL_FOLDER if plan.baked_bytes else None,
    )
    docker_build.build(model, plan.reference, client=client, show=show, check=check, secrets=secrets)
    return plan.reference


def _read(model_dir: Path) -> tuple[bytes, About]:
    """Read thampi.json once, so that its hash is that of what is known of the model."""
    manifest = bundle.read_manifest(model_dir)
    return manifest, bundle.parse(manifest, str(model_dir / bundle.MANIFEST))


def _baked(stage: Stage, manifest: bytes, about: About) -> dict[str, bytes | Path]:
    """Return the files of the model when the image is to have it, otherwise nothing."""
    return baked.files(stage.model_dir, manifest, about) if stage.build.model == "image" else {}


def _download_bytes(resolved: Resolved) -> int:
    """Return what is known of the libraries' size; unpacked they take more."""
    return sum(each.size for each in resolved.distributions)


def _python(stage: Stage, about: About) -> str:
    """Return the Python of the image, which has to be the bundle's."""
    saved, wanted = loading.minor(about.python), stage.build.python
    if wanted and saved and wanted != saved:
        raise ConfigError(
            f"build.python is {wanted}, and the model in {stage.model_dir} was saved with Python {about.python}",
            hint=f"take build.python out of thampi.toml, or save the model with Python {wanted}: a pickle can't change",
        )
    if not saved and not wanted:
        raise ConfigError(
            f"the model in {stage.model_dir} does not say which Python saved it",
            hint='say it in thampi.toml: [build] python = "3.11"; or save it again with this thampi',
        )
    return wanted or saved


def _check_manager(stage: Stage, wanted: Dependencies) -> None:
    asked = stage.build.package_manager
    if asked is None or asked == wanted.manager:
        return
    kind = "a conda environment" if wanted.manager == "conda" else "none of conda's"
    raise ConfigError(
        f"build.package_manager is {asked}, and {wanted.title} is {kind}",
        hint="take package_manager out of thampi.toml: what the file is, is seen by its content; "
        + ("for conda, write an environment.yml" if asked == "conda" else "for pip, write a requirements.txt"),
    )


def _pin(reference: str, *, platform: str, environ: Mapping[str, str], refresh: bool, must: bool) -> str:
    """Return a base image's reference with its digest, or as it is where no engine can say it now.

    A build would say the same of an engine that is missing; a push of an image that is there needs none.
    """
    try:
        client = docker_client.find(environ)
        return docker_base.pin(client, reference, platform, refresh=refresh).reference
    except BuildError:
        if must:
            raise
        return reference


def _apt(stage: Stage, resolved: Resolved) -> tuple[tuple[str, ...], list[str]]:
    """Return the system packages: those of thampi.toml, and what libraries are known to need; with notes."""
    named = {package.partition("=")[0] for package in stage.build.apt}
    # What conda brings comes with its system libraries; only pip's wheels count on the system.
    lines = tuple(line.partition(" ")[0].partition("==")[0] for line in resolved.requirements)
    wheels = [each for each in resolved.distributions if not resolved.packages or each.name in lines]
    needed = system_packages.needed({each.name: each.version for each in wheels})
    added = [(package, because) for package, because in needed if package not in named]
    notes = [f"system package {package} added: {because}" for package, because in added]
    return (*stage.build.apt, *(package for package, _ in added)), notes


def _secrets(wanted: Dependencies) -> dict[str, str | Path]:
    """Return what a build has to know of indexes, and no image."""
    indexes = wanted.indexes
    secrets: dict[str, str | Path] = {"indexes": uv_command.configuration(indexes)}
    if indexes.credentials:
        secrets["netrc"] = uv_command.netrc(indexes.credentials)
    if pip := uv_command.pip_configuration(indexes):
        secrets["pip"] = pip
    if indexes.ca_bundle is not None:
        secrets["ca"] = indexes.ca_bundle
    return secrets
