"""`repoloom doctor`: is everything there and well, and if not, what to do."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repoloom.cli.extras import way_out
from repoloom.cli.output import Json, print_json, safe
from repoloom.cli.up import FOLDER

if TYPE_CHECKING:
    from repoloom.up.doctor.finding import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    store: Annotated[
        str | None,
        typer.Option(metavar="URI", help="A store to try out.  [default: that of `repoloom up` in FOLDER]"),
    ] = None,
    folder: Annotated[Path, typer.Option("--folder", help="Folder of the stack that `repoloom up` runs.")] = FOLDER,
    as_json: Json = False,
) -> None:
    """Check this machine, Redis and its queues, the store and the services; say what to do about what is wrong.

    It looks where the environment says (REPOLOOM_REDIS_URL, AWS_*, REPOLOOM_SERVICES), else at what `repoloom up` runs.
    The store is tried out by writing below a scratch key, which is removed. Exit code 1 where something fails.
    """
    from rich.console import Console
    from rich.text import Text

    from repoloom.up.doctor.finding import Verdict

    console = Console(soft_wrap=True, highlight=False)
    found = []
    for finding in _findings(store, folder):
        found.append(finding)
        if not as_json:
            verdict = (f"{finding.verdict:<4}", _COLOURS[finding.verdict])
            console.print(Text.assemble(verdict, "  ", safe(finding.subject, "bold"), "  ", safe(finding.said)))
            if finding.way_out:
                console.print(Text.assemble("      → ", safe(finding.way_out)))
    if as_json:
        print_json([finding.model_dump(mode="json") for finding in found])
    if any(finding.verdict is Verdict.FAIL for finding in found):
        raise typer.Exit(1)


def _findings(store: str | None, folder: Path) -> "Iterator[Finding]":
    from repoloom.up.doctor.finding import Finding
    from repoloom.up.doctor.machine import machine_findings
    from repoloom.up.surroundings import surroundings

    environment = surroundings(folder, os.environ)
    os.environ.update(environment)  # a store's credentials are read there
    yield from machine_findings(folder)
    try:
        from repoloom.up.doctor.redis import redis_findings
        from repoloom.up.doctor.services import service_findings
        from repoloom.up.doctor.store import store_findings
    except ModuleNotFoundError as error:
        if (command := way_out(error)) is None:
            raise
        yield Finding.warn("distributed form", f"its libraries are not installed: {error.name}", command)
        return
    yield from redis_findings(environment)
    roots = [store] if store else environment.get("REPOLOOM_STORE_ROOTS", "").split()
    for root in roots:
        yield from store_findings(root)
    if not roots:
        yield Finding.warn(
            "store", "none is named, so none was tried out", "give --store s3://bucket/prefix or a folder"
        )
    yield from service_findings(environment)
