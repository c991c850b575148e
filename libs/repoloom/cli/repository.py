"""How the fate of repositories looks on a terminal."""

from collections.abc import Sequence

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from repoloom.cli.output import bytes_text, safe
from repoloom.recipe.inspect import Dropped, Listed, Lost, Repository
from repoloom.report.wording import plural
from repoloom.text import visible

_LONGEST_NAME = 60  # that the columns make room for


def show_repositories(repositories: Sequence[Listed]) -> None:
    """Prints a line for each, whatever their number."""
    names = [visible(listed.repo, kept="") or "(before the first)" for listed in repositories]
    width = min(_LONGEST_NAME, max(map(len, ("repository", *names))))
    typer.echo(f"{'repository':<{width}}  {'crawled':>8}  {'dropped':>8}  {'kept':>8}  {'':>9}  documents  licence")
    for name, listed in zip(names, repositories, strict=True):
        typer.echo(
            f"{name:<{width}}  {listed.crawled:>8,}  {listed.dropped:>8,}  {listed.files:>8,}  "
            f"{bytes_text(listed.bytes):>9}  {listed.documents:>9,}  {visible(listed.license, kept='') or '–'}"
            + ("  held out for evaluation" if listed.held_out else "")
            + "".join(f"  {visible(_given_up(lost, listed.repo), kept='')}" for lost in listed.quarantined)
        )


def show_repository(repository: Repository) -> None:
    """Prints its documents, their files in order and why, and what was dropped and why."""
    tree = Tree(
        Text.assemble(
            safe(repository.repo, "bold"), " ", safe(repository.revision), " ", safe(repository.license, "dim")
        )
    )
    if repository.held_out:
        tree.add(Text("held out for evaluation: nothing is trained on it", "yellow"))
    for document in repository.documents:
        branch = tree.add(f"document {document.number}: {plural(len(document.files), 'file')}, dependencies first")
        for file in document.files:
            leaf = branch.add(Text.assemble(safe(file.path), safe(f" {file.language}, {file.size} bytes", "dim")))
            for edge in file.imports:
                leaf.add(
                    Text.assemble(
                        (f"line {edge.line} imports ", "dim"), safe(edge.imported), safe(f" ({edge.how})", "dim")
                    )
                )
    for cycle in repository.cycles:
        tree.add(Text.assemble(("import cycle: ", "yellow"), safe(", ".join(cycle))))
    for lost in repository.quarantined:
        tree.add(safe(_given_up(lost, repository.repo), "yellow"))
    if repository.dropped:
        branch = tree.add(f"dropped: {plural(len(repository.dropped), 'file')}")
        for drop in repository.dropped:
            branch.add(Text.assemble(safe(drop.path), safe(f" by {drop.step}: ", "dim"), safe(_reason(drop))))
    Console().print(tree)


def _given_up(lost: Lost, repo: str) -> str:
    said = lost.error.partition("\n")[0]
    if lost.at == repo:
        return f"quarantined by {lost.step}: {lost.kind}: {said}"
    at = f" at {lost.at}" if lost.at else ""
    return f"lost with a task of {lost.step} quarantined{at}: {lost.kind}: {said}"


def _reason(drop: Dropped) -> str:
    measured = "" if drop.value is None else f" {drop.value:g}"
    limit = "" if drop.value is None or drop.threshold is None else f" (limit {drop.threshold:g})"
    return f"{drop.rule}{measured}{limit} {drop.detail}"
