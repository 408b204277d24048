"""The commands that change or ask AWS, or what plays it on this machine."""

import contextlib
import functools
import json
import os
import sys
from typing import Any

import click

from thampi import terminal
from thampi.cli import amounts, mocking
from thampi.cli.options import load_stage, options, read_data, stage_names
from thampi.errors import ConfigError


@click.command()
@options("stage", "model_dir", "dependency_file", "platform", "verbose", "json", "force")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--replace-endpoint", is_flag=True, help="Let the URL become another, where api.type has changed.")
@click.option("--from", "origin", metavar="STAGE", help="Release exactly what is live on that stage.")
@click.option("--canary", type=amounts.SHARE, help="Give the new release this share of the calls; live stays live.")
@click.option("--watch", type=amounts.SPAN, help="Measure the canary for this long, then promote it or roll it back.")
@click.option("--max-errors", type=amounts.PERCENT, help="How many of its requests may fail (1%).")
@click.option("--max-p99", type=amounts.LATENCY, help="How long 99 of 100 of its requests may take at most.")
@click.option("--min-requests", type=click.IntRange(1), help="On fewer it is not promoted (100).")
def push(
    stage: str,
    verbose: bool,
    as_json: bool,
    force: bool,
    dry_run: bool,
    replace_endpoint: bool,
    origin: str | None,
    canary: float | None,
    watch: float | None,
    max_errors: float | None,
    max_p99: float | None,
    min_requests: int | None,
    **flags: str | None,
) -> None:
    """Serve the model at a URL: image, model, function, endpoint."""
    watching = _watching(canary, watch, max_errors, max_p99, min_requests)
    _push(
        stage,
        flags,
        verbose=verbose,
        as_json=as_json,
        force=force,
        dry_run=dry_run,
        replace_endpoint=replace_endpoint,
        origin=origin,
        canary=canary,
        watching=watching,
    )


def _watching(
    canary: float | None,
    seconds: float | None,
    max_errors: float | None,
    max_p99: float | None,
    min_requests: int | None,
) -> dict[str, Any] | None:
    """Return how to watch a canary, or None; raise ConfigError for what makes no sense without one."""
    given = {"max_errors": max_errors, "max_p99": max_p99, "min_requests": min_requests}
    if seconds is None or canary is None:
        alone = ["--watch"] * (seconds is not None) + [_flag(key) for key, value in given.items() if value is not None]
        if alone:
            lacking = "--canary" if canary is None else "--watch"
            raise ConfigError(
                f"{alone[0]} means nothing without {lacking}", hint="--canary 10 --watch 15m --max-errors 1%"
            )
        return None
    limits = {
        "max_errors": None if max_errors is None else max_errors / 100,
        "max_p99_ms": max_p99,
        "requests": min_requests,
    }
    return {"seconds": seconds, "limits": {key: value for key, value in limits.items() if value is not None}}


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-")


@click.command()
@options("stage", "model_dir", "dependency_file", "verbose")
@click.option("--replace-endpoint", is_flag=True, help="Let the URL become another, where api.type has changed.")
def serve(stage: str, verbose: bool, replace_endpoint: bool, **flags: str | None) -> None:
    """Build and push in one, as the original's command did."""
    _push(stage, flags, verbose=verbose, as_json=False, force=False, dry_run=False, replace_endpoint=replace_endpoint)


def _push(
    name: str,
    flags: dict[str, str | None],
    *,
    verbose: bool,
    as_json: bool,
    force: bool,
    dry_run: bool,
    replace_endpoint: bool = False,
    origin: str | None = None,
    canary: float | None = None,
    watching: dict[str, Any] | None = None,
) -> None:
    from thampi.operations import build, delivery, examine, place
    from thampi.operations import push as operation

    stage = load_stage(name, flags)
    if stage.api.mock:
        releases = {"--from": origin is not None, "--canary": canary is not None}
        releases |= {_flag(key): value is not None for key, value in flags.items()}
        told = mocking.push(stage, releases, force=force, dry_run=dry_run, replace_endpoint=replace_endpoint)
        _tell_push(stage, *told, as_json=as_json, dry_run=dry_run)
        return
    if origin is not None and any(flags.values()):
        given = next(_flag(key) for key, value in flags.items() if value)
        raise ConfigError(f"{given} and --from exclude each other", hint="--from takes model and image as they are")
    if origin is None:
        build.check(stage)
    where = place.find(stage, environ=os.environ, say=terminal.say)
    terminal.say(f"{stage.name}, stage {stage.stage}: {where}")
    plan: Any = None if origin else build.plan(stage, say=terminal.say, write=not dry_run)
    with contextlib.ExitStack() as stack:
        more: dict[str, Any] = {}
        if origin is None:
            in_s3 = stage.build.model == "s3"
            size = sum(file.size for file in plan.about.files.values()) if in_s3 else 0
            progress = stack.enter_context(terminal.push_progress(0 if dry_run else size, verbose=verbose))
            more["uploaded"] = progress.upload
            more["deliver"] = functools.partial(
                delivery.deliver, stage=stage, plan=plan, environ=os.environ, say=terminal.say, progress=progress
            )
            planned: Any = plan
        else:
            planned = stack.enter_context(_adopted(origin, stage, where))
            stage = planned.stage
            more |= {"deliver": planned.deliver, "bring_model": planned.bring_model}
        if dry_run:
            done = examine.examine(stage, planned, where, canary=canary, replace_endpoint=replace_endpoint)
        else:
            more |= {"canary": canary, "replace_endpoint": replace_endpoint}
            done = operation.push(stage, planned, where, say=terminal.say, force=force, **more)
    _tell_push(stage, where, done, as_json=as_json, dry_run=dry_run)
    if watching and not dry_run and done.candidate:
        from thampi.operations import watch

        limits = watch.Limits(**watching["limits"])
        moved = watch.watch(
            stage, where, done.candidate, seconds=watching["seconds"], limits=limits, say=terminal.say, force=force
        )
        for line in moved.changes:
            terminal.say(line)


def _adopted(origin: str, stage: Any, where: Any) -> Any:
    """Find what is live on another stage."""
    from thampi.operations import adopt, place

    other = load_stage(origin)
    there = place.find(other, environ=os.environ, say=terminal.say)
    return adopt.live_of(other, there, stage, where, say=terminal.say)


# What keeps others out, by the type of the endpoint.
_CLOSED = {
    "http": 'auth = "iam" lets only AWS identities in, "jwt" who brings a token',
    "rest": 'auth = "iam" lets only AWS identities in, "api_key" who has a key',
    "url": 'auth = "iam" lets only AWS identities in',
}


def _tell_push(stage: Any, where: Any, done: Any, *, as_json: bool, dry_run: bool) -> None:
    from thampi.operations import domain

    domain_url = domain.url(stage, where)
    if as_json:
        said = {
            "url": done.url,
            "domain_url": domain_url,
            "version": done.version,
            "changed": done.changed,
            "dry_run": dry_run,
            "things": [vars(row) for row in done.rows],
        }
        terminal.result(json.dumps(said, indent=2))
        return
    if not done.changed:
        terminal.say("nothing has changed: all of it is as wanted")
    else:
        would = "would be " if dry_run else ""
        terminal.table(
            ("thing", "name", "action", "changes"),
            [(row.thing, row.name, _action(row.action, would), "\n".join(row.changes)) for row in done.rows],
        )
    if stage.api.auth == "none" and not dry_run:
        terminal.say(f'anybody who knows the URL can call it (auth = "none"); {_CLOSED[stage.api.type]}')
    if stage.api.auth == "api_key" and not dry_run:
        terminal.say(f"who has a key can call it, as the header x-api-key: thampi keys {stage.stage} create LABEL")
    if domain_url:
        terminal.say(f"under its domain: {domain_url}")
    if done.url:
        terminal.result(done.url)


def _action(action: str, would: str) -> str:
    return action if action == "left" else f"{would}{action}"


@click.command()
@options("stage", "json")
def info(stage: str, as_json: bool) -> None:
    """Show the URL of a stage and what is live there."""
    from thampi.operations import info as operation

    settings = load_stage(stage)
    found = operation.info(settings, _place(settings))
    if as_json:
        terminal.result(json.dumps(found, indent=2))
        return
    terminal.result(str({"url": found["url"]}))
    for key, value in found.items():
        if key != "url" and value not in (None, ""):
            terminal.result(f"{key:14}{value}")


@click.command()
@options("stage")
@click.option("--data", required=True, metavar="JSON", help="A value of `data`; @file, or - for standard input.")
@click.option("--direct", is_flag=True, help="Ask Lambda itself, past the URL.")
def predict(stage: str, data: str, direct: bool) -> None:
    """Ask the model of a stage; print its answer."""
    from thampi.operations import predict as operation

    value = read_data(data)
    settings = load_stage(stage)
    where = _place(settings)
    if direct:
        answer = operation.directly(settings, where, value)
    else:
        answer = operation.through_url(settings, where, value, environ=os.environ)
    terminal.result(json.dumps(answer, indent=2, ensure_ascii=False))


@click.command("list")
@options("json")
@click.option("--all", "everything", is_flag=True, help="Every thampi project of the stages' accounts and regions.")
def list_(as_json: bool, everything: bool) -> None:
    """Show the stages of the project and their state."""
    from thampi.operations import listing, place

    def find(stage: Any) -> Any:
        return place.find_awake(stage, environ=os.environ, say=terminal.say)

    if everything:
        stages = [load_stage(name) for name in stage_names()]
        projects = listing.projects(listing.places_of(stages, find, terminal.say))
        if as_json:
            terminal.result(json.dumps([vars(each) for each in projects], indent=2))
            return
        shown = [
            (each.project, each.stage, each.account, each.region, ", ".join(f"{n} {s}" for s, n in each.things.items()))
            for each in projects
        ]
        terminal.table(("project", "stage", "account", "region", "things"), shown, to_stdout=True)
        return
    found = listing.states([load_stage(name) for name in stage_names()], find)
    if as_json:
        terminal.result(json.dumps([dict(state.as_json()) for state in found], indent=2))
        return
    rows = [(each.stage, each.state, each.version, each.url or each.said) for each in found]
    terminal.table(("stage", "state", "version", "url"), rows, to_stdout=True)


@click.command()
@options("stage", "yes", "force")
@click.option("--all", "everything", is_flag=True, help="Also the images and models, which the stages share.")
def destroy(stage: str, yes: bool, force: bool, everything: bool) -> None:
    """Delete everything that a stage made."""
    from thampi.operations import destroy as operation
    from thampi.operations import place

    settings = load_stage(stage)
    where = _place(settings)
    terminal.say(f"{settings.name}, stage {stage}: {where}")
    if not yes:
        _confirm(stage)
    others = [name for name in stage_names() if name != stage]
    gone = operation.destroy(settings, where, who=place.who(), everything=everything, others=others, force=force)
    if not any(each.was_there for each in gone):
        terminal.say("there was nothing to delete")
        return
    rows = [(each.thing, each.name, "deleted" if each.was_there else "was not there") for each in gone]
    terminal.table(("thing", "name", "action"), rows)


def _confirm(stage: str) -> None:
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to confirm at", hint=f"thampi destroy {stage} --yes")
    typed = str(click.prompt(f"type {stage} to delete it", default="", show_default=False, err=True))
    if typed.strip() != stage:
        raise ConfigError(f"{typed!r} is not {stage}: nothing was deleted", hint=None)


@click.command()
@click.argument("stage", required=False)
@click.option("--policy", is_flag=True, help="Print the smallest IAM policy that the commands need for the stage.")
def doctor(stage: str | None, policy: bool) -> None:
    """Try what a build and a push will need; say the cures."""
    from thampi.operations import doctor as operation
    from thampi.operations import place

    if policy:
        from thampi.operations import policy as least

        if stage is None:
            raise ConfigError("--policy is of one stage", hint="thampi doctor staging --policy")
        wanted = load_stage(stage)
        terminal.result(json.dumps(least.document(wanted, _place(wanted)), indent=2))
        return

    settings = load_stage(stage or "local")
    ill = False
    findings = list(operation.examine_machine(settings, os.environ))
    if stage:
        findings += operation.examine_place(
            settings, lambda: place.find(settings, environ=os.environ, say=terminal.say)
        )
    for found in findings:
        terminal.result(f"{'ok ' if found.well else 'ILL'}  {found.what:16}{found.said}")
        if not found.well:
            ill = True
            if found.cure:
                terminal.result(f"     {'':16}{found.cure}")
    if ill:
        raise click.exceptions.Exit(1)


@click.group("local")
def local() -> None:
    """Start, stop, show or forget the AWS of this machine."""


@local.command("start")
def local_start() -> None:
    """Start it; print its URL."""
    from thampi.operations import local as operation

    terminal.result(operation.start(environ=os.environ, say=terminal.say))


@local.command("stop")
def local_stop() -> None:
    """Stop it; what it holds stays."""
    from thampi.operations import local as operation

    operation.stop(environ=os.environ, say=terminal.say)


@local.command("status")
@options("json")
def local_status(as_json: bool) -> None:
    """Show how it is."""
    from thampi.operations import local as operation

    found = operation.status(environ=os.environ)
    if as_json:
        terminal.result(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        terminal.result(f"{key:12}{value}")


@local.command("reset")
@options("yes")
def local_reset(yes: bool) -> None:
    """Stop it and forget what it holds."""
    from thampi.operations import local as operation

    if not yes:
        _confirm("local")
    operation.reset(environ=os.environ, say=terminal.say)


def _place(settings: Any) -> Any:
    from thampi.operations import place

    return place.find(settings, environ=os.environ, say=terminal.say)


SERVING = (push, serve, info, predict)
KEEPING = (list_, doctor, destroy, local)
