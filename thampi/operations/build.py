"""thampi build: bundle + dependency file -> recipe -> image, tried; what is built already is not built again."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from thampi import dependencies, names, recipe
from thampi.builder import build as docker_build
from thampi.builder import client as docker_client
from thampi.builder import smoke
from thampi.config import Stage
from thampi.errors import ConfigError
from thampi.recipe import Recipe
from thampi.runtime import bundle, loading
from thampi.runtime.bundle import About


@dataclass(frozen=True)
class Plan:
    """What will be built: decided from files alone, before any engine is asked."""

    about: About
    base: Recipe
    model: Recipe
    reference: str  # of the model's image
    python: str  # the minor version
    requirements: tuple[str, ...]
    project_files: Mapping[str, Path]  # that ship as files, by their path in the project
    notes: tuple[str, ...]


def plan(stage: Stage) -> Plan:
    """Decide what the image is made of; raise ConfigError or BundleError for what can't become one."""
    about = bundle.read(stage.model_dir)
    python = _python(stage, about)
    wanted = dependencies.read(stage.build.dependency_file, about.distributions)
    if stage.build.package_manager == "conda":
        raise ConfigError(
            "build.package_manager is conda, which this version can't build with yet",
            hint='set it to "pip", and list the packages in a requirements.txt',
        )
    base = recipe.make_base(python, stage.build.platform, stage.build.base_image)
    model = recipe.make(base, wanted, apt=stage.build.apt, include=stage.build.include, project_dir=stage.project_dir)
    return Plan(
        about=about,
        base=base,
        model=model,
        reference=names.image(stage.name, model.digest),
        python=python,
        requirements=wanted.requirements,
        project_files=recipe.project_files(stage.build.include, stage.project_dir),
        notes=wanted.notes,
    )


def build(plan: Plan, *, environ: Mapping[str, str], say: Callable[[str], None], show: Callable[[str], None]) -> str:
    """Build the image unless the engine has it; return its reference.

    `say` gets a sentence for each thing that is done, `show` every line that the engine says meanwhile.
    """
    client = docker_client.find(environ)
    if docker_build.has(client, plan.reference):
        say(f"image {plan.reference} is there already: nothing to build")
        return plan.reference
    for note in plan.notes:
        say(note)
    base_reference = recipe.reference(recipe.BASE, plan.base)
    if not docker_build.has(client, base_reference):
        say(f"building the base image on {plan.base.arguments['PYTHON_IMAGE']} (once for all projects)")
        docker_build.build(plan.base, base_reference, client=client, show=show)
    say(f"building image {plan.reference}")
    check = functools.partial(smoke.check, about=plan.about, client=client)
    docker_build.build(plan.model, plan.reference, client=client, show=show, check=check)
    return plan.reference


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
