"""Running a recipe: a fold of the stages' steps over an environment of named tables, on the local pool."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from pydantic import Field, JsonValue, ValidationError

from repoloom import store as stores
from repoloom.corpus.dataset import MANIFEST, Dataset
from repoloom.corpus.ledger import Count
from repoloom.corpus.manifest import Record
from repoloom.engine.execute import load_step
from repoloom.engine.log import CommitLog
from repoloom.engine.plan import Table
from repoloom.engine.pool import LocalPool, Pool
from repoloom.engine.reconcile import Fence, Policy, Watch, reconcile
from repoloom.engine.step import Params, Step
from repoloom.errors import ConflictError, CorruptDataError, InputError, RepoloomError
from repoloom.recipe.model import Recipe
from repoloom.recipe.sections import DATA_PATH, configure, settle, step_names, steps
from repoloom.store import open_store

RUN = "run.json"


class Made(Record):
    """A dataset of a run."""

    step: str = Field(pattern=r"^[a-z_]+(\.[a-z_]+)?$")  # its folder in the run's output is named so
    digest: str


class RunRecord(Record):
    """What a run has made so far, kept beside it as run.json."""

    recipe: Mapping[str, JsonValue]
    made: tuple[Made, ...] = ()
    store: str | None = None  # where the datasets lie, if not beside the record

    @classmethod
    def read(cls, out: str) -> "RunRecord":
        """The record of the run at an address. Raises InputError where there is none."""
        try:
            return cls.model_validate_json(open_store(out).read(RUN))
        except FileNotFoundError:
            raise InputError(
                f"{out} holds no run: it has no {RUN}; make one with `repoloom run RECIPE --out {out}`"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise CorruptDataError(f"{out}/{RUN} cannot be read: {where}: {first['msg']}") from error

    def write(self, out: str) -> None:
        """Replaces the record at an address."""
        stores.write(open_store(out), RUN, self.model_dump_json(indent=1).encode())


@dataclass(frozen=True)
class Watcher:
    """Who is told how a run goes on."""

    status: Watch = lambda _: None
    made: Callable[[Dataset], None] = lambda _: None


class TooFewRepositoriesError(RepoloomError):
    """The crawl reached fewer repositories than the recipe asks for."""


def run_data_path(
    recipe: Recipe,
    out: str,
    pool: Pool,
    until: str | None = None,
    watcher: Watcher | None = None,
    beside: str | None = None,
) -> dict[str, Dataset]:
    """Brings every dataset of a recipe's data path to be, up to the stage `until`, and returns them by step.

    `beside` is a second address that the run is to be read at; its record names `out`.
    Raises TooFewRepositoriesError, FatalError. A quarantined task is no error here: the datasets' manifests name it.
    """
    watcher = watcher or Watcher()
    keeper = _Keeper(recipe, out, beside)
    tables: dict[str, Table] = {}
    datasets: dict[str, Dataset] = {}
    for stage in stages_until(until):
        for dataset in _run_and_keep(stage, recipe, tables, out, pool, watcher, keeper):
            datasets[dataset.manifest.step] = dataset
    return datasets


def run_next_stage(
    stage: str,
    recipe: Recipe,
    out: str,
    given: str,
    pool: Pool,
    watcher: Watcher | None = None,
    fence: Fence = lambda: None,
) -> list[Dataset]:
    """Brings the datasets of one stage to be, from those of the stages before it, which `out` holds already.

    `given` is the digest of the last of these, "" for the first stage. Raises ConflictError where another lies there,
    CorruptDataError where they are not made from each other, and what `run_data_path` raises.
    """
    root = out.rstrip("/")
    before = [Dataset.open(f"{root}/{step.name}") for one in stages_until(stage)[:-1] for step in steps(one)]
    found = before[-1].digest if before else ""
    if found != given:
        raise ConflictError(
            f"{out} holds {found} where the stage {stage!r} was to go on from {given}: it was made anew"
        )
    tables: dict[str, Table] = {}
    for dataset in before:
        _check_made_from(dataset, {name: table.dataset for name, table in tables.items()})
        tables.update({name: Table(dataset, name) for name in dataset.manifest.tables})
    keeper = _Keeper(recipe, out, made=tuple(Made(step=one.manifest.step, digest=one.digest) for one in before))
    return list(_run_and_keep(stage, recipe, tables, out, pool, watcher or Watcher(), keeper, fence))


def _run_and_keep(
    stage: str,
    recipe: Recipe,
    tables: dict[str, Table],
    out: str,
    pool: Pool,
    watcher: Watcher,
    keeper: "_Keeper",
    fence: Fence = lambda: None,
) -> Iterator[Dataset]:
    for dataset in run_stage(stage, recipe.section(stage), tables, out, pool, recipe.engine, watcher.status, fence):
        keeper.add(dataset)
        watcher.made(dataset)
        if dataset.manifest.step == "crawl":
            _check_enough(dataset, recipe.min_repositories)
        yield dataset


class _Keeper:
    """Keeps run.json as datasets come to be.

    What an earlier run made after them stays in it for as long as all before is the same.
    """

    def __init__(self, recipe: Recipe, out: str, beside: str | None = None, made: tuple[Made, ...] = ()) -> None:
        self._out, self._store = out, open_store(out).uri
        self._beside = beside if beside is not None and open_store(beside).uri != self._store else None
        self._record = RunRecord(recipe=recipe.model_dump(), made=made)

    def add(self, dataset: Dataset) -> None:
        made = (*self._record.made, Made(step=dataset.manifest.step, digest=dataset.digest))
        self._record = self._record.model_copy(update={"made": made})
        before = _made_before(self._out)  # looked at each time: another attempt of the same run may be ahead
        still_holds = before[len(made) :] if before[: len(made)] == made else ()
        whole = self._record.model_copy(update={"made": (*made, *still_holds)})
        whole.write(self._out)
        if self._beside is not None:
            whole.model_copy(update={"store": self._store}).write(self._beside)


def _made_before(out: str) -> tuple[Made, ...]:
    """What an earlier run made at an address; not what it made at another that it named there."""
    if not open_store(out).exists(RUN):
        return ()
    record = RunRecord.read(out)
    return record.made if record.store is None else ()


def run_stage(
    stage: str,
    values: Mapping[str, Any],
    tables: dict[str, Table],
    out: str,
    pool: Pool,
    policy: Policy,
    watch: Watch = lambda _: None,
    fence: Fence = lambda: None,
) -> Iterator[Dataset]:
    """Runs the steps of one stage, each on the tables named before it; adds what they write to `tables`."""
    values = settle(stage, values)
    for step_class in steps(stage):
        if missing := [name for name in step_class.reads if name not in tables]:
            raise InputError(
                f"{step_class.name} reads the table {missing[0]!r}; given were: {', '.join(sorted(tables)) or 'none'}"
            )
        step = configure(step_class, values)
        with _pool_for(step, pool) as chosen:
            dataset = reconcile(step, tables, f"{out.rstrip('/')}/{step.name}", chosen, policy, watch, fence)
        tables.update({name: Table(dataset, name) for name in step.writes})
        yield dataset


def _pool_for(step: Step[Params], pool: Pool) -> AbstractContextManager[Pool]:
    """What reads no table reads the machine where the recipe is run, a benchmark's file, say: it is done here."""
    here = step.reads or isinstance(pool, LocalPool)
    return nullcontext(pool) if here else LocalPool(1, pool.limits)


def stages_until(until: str | None) -> tuple[str, ...]:
    """The stages up to one. Raises InputError where there is no such stage."""
    if until is None:
        return DATA_PATH
    if until not in DATA_PATH:
        raise InputError(f"there is no stage {until!r}; the stages are: {', '.join(DATA_PATH)}")
    return DATA_PATH[: DATA_PATH.index(until) + 1]


def datasets_at(uri: str) -> list[Dataset]:
    """The datasets at an address: those of a run, in the order they were made, or the one dataset that lies there.

    Raises InputError where there is neither, which names the datasets below, where a job left some.
    """
    store = open_store(uri)
    if store.exists(MANIFEST):
        return [Dataset.open(uri)]
    if not store.exists(RUN) and (below := dataset_uris_at(uri)):
        raise InputError(f"{uri} is neither a dataset nor a run; give what lies below it: {', '.join(below)}")
    record = RunRecord.read(uri)
    return [_open_made(record.store or uri, made) for made in record.made]


def dataset_uris_at(uri: str) -> list[str]:
    """The addresses of the datasets at an address, finished or not: those of a run's steps, or the address itself."""
    store = open_store(uri)
    if store.exists(RUN) and (elsewhere := RunRecord.read(uri).store):
        store = open_store(elsewhere)
    begun = [
        name
        for name in step_names()
        if any(True for folder in ("tasks", "failures") for _ in store.list(f"{name}/{folder}"))
    ]
    if begun:
        return [f"{store.uri}/{name}" for name in begun]
    return [store.uri] if store.exists(MANIFEST) else []


def verify(uri: str) -> list[Dataset]:
    """Checks the datasets at an address: each by itself with its log of commits, which the next run reads, and that
    what one step kept is what the next was given.

    Raises CorruptDataError naming the first thing that does not hold.
    """
    datasets = datasets_at(uri)
    makers: dict[str, Dataset] = {}
    for dataset in datasets:
        dataset.verify()
        for _ in CommitLog(dataset.store).segments():
            pass  # each is checked as it is read
        manifest = dataset.manifest
        _check_made_from(dataset, makers)
        accounts = load_step(manifest.step).accounts
        entering = accounts.entering if accounts else None
        if entering in makers and entering in makers[entering].manifest.ledger.kept:
            kept = sum(makers[entering].manifest.ledger.kept[entering].values(), Count())
            if manifest.ledger.entering != kept:
                raise CorruptDataError(
                    f"{dataset.uri}: {manifest.ledger.entering.items} items entered, "
                    f"but {makers[entering].uri} kept {kept.items}"
                )
        makers.update(dict.fromkeys(manifest.tables, dataset))
    return datasets


def _check_made_from(dataset: Dataset, makers: Mapping[str, Dataset]) -> None:
    """Raises CorruptDataError where a dataset read a table of another dataset than the one that holds it now."""
    for table, digest in dataset.manifest.inputs.items():
        if table in makers and digest != makers[table].digest:
            raise CorruptDataError(f"{dataset.uri} was made from another {table!r} than {makers[table].uri} holds")


def tables_at(uris: Iterable[str]) -> dict[str, Table]:
    """The tables of the datasets at some addresses; of tables with one name the last stands."""
    return {
        name: Table(dataset, name) for uri in uris for dataset in datasets_at(uri) for name in dataset.manifest.tables
    }


def _open_made(out: str, made: Made) -> Dataset:
    dataset = Dataset.open(f"{out.rstrip('/')}/{made.step}")
    if dataset.digest != made.digest:
        raise CorruptDataError(
            f"{dataset.uri} is {dataset.digest[:19]}…, but the run made {made.digest[:19]}…; "
            "run the recipe again to bring it up to date"
        )
    return dataset


def _check_enough(crawl: Dataset, wanted: int) -> None:
    reached = crawl.manifest.tables["repositories"].rows
    if reached < wanted:
        lost = "\n".join(f"  {failure.error}" for failure in crawl.manifest.quarantined)
        raise TooFewRepositoriesError(
            f"the crawl reached {reached} repositories, the recipe wants at least {wanted} (min_repositories)."
            + (
                f" Not reached:\n{lost}\n`repoloom retry {crawl.uri}` and running again tries them anew."
                if lost
                else ""
            )
        )
