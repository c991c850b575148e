"""What the commits of a plan come to: each table's parts in the plan's order, and the sum of the ledgers."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from repoloom.corpus.ledger import Count, Ledger
from repoloom.corpus.parts import PARTS
from repoloom.engine.work import Work

_CELL = ["side", "name", "language"]


class Gathered:
    """Takes commits in any order, some perhaps twice, and holds of each no more than its parts."""

    def __init__(self, work: Work, tables: Sequence[str]) -> None:
        self._work = work
        self._taken = bytearray(len(work))
        self._order: npt.NDArray[np.uint32] = np.asarray(work.order)
        self._times: npt.NDArray[np.int64] = np.bincount(self._order, minlength=len(work))
        self._parts: dict[str, list[pa.Table]] = {table: [] for table in tables}
        self._counts: list[pa.Table] = []

    def take(self, commits: pa.Table) -> None:
        """Takes in rows of COMMITS; those of other plans' tasks count for nothing."""
        rows, numbers = self._wanted([task.hex() for task in commits["task"].to_pylist()])
        commits = commits.take(pa.array(rows, pa.int64())).combine_chunks()
        tasks = np.array(numbers, dtype=np.int64)
        self._take_parts(commits["parts"].combine_chunks(), tasks)
        self._take_counts(commits["counts"].combine_chunks(), tasks)

    def _wanted(self, tasks: Sequence[str]) -> tuple[list[int], list[int]]:
        rows, numbers = [], []
        for row, task in enumerate(tasks):
            number = self._work.number(task)
            if number is not None and not self._taken[number]:
                self._taken[number] = True
                self._work.finish(task)
                rows.append(row)
                numbers.append(number)
        return rows, numbers

    def _take_parts(self, parts: pa.ListArray, tasks: npt.NDArray[np.int64]) -> None:
        task = tasks[pc.list_parent_indices(parts).to_numpy()]
        flat = pa.Table.from_struct_array(pc.list_flatten(parts)).append_column("task", pa.array(task))
        for table, taken in self._parts.items():
            taken.append(flat.filter(pc.equal(flat["table"], table)).select([*PARTS.names, "task"]))

    def _take_counts(self, counts: pa.ListArray, tasks: npt.NDArray[np.int64]) -> None:
        times = pa.array(self._times[tasks][pc.list_parent_indices(counts).to_numpy()])
        flat = pa.Table.from_struct_array(pc.list_flatten(counts))
        for column in ("items", "size"):
            flat = flat.set_column(flat.schema.get_field_index(column), column, pc.multiply(flat[column], times))
        self._counts.append(_sum(flat))

    def parts(self, table: str) -> pa.Table:
        """A table's parts in the plan's order, as columns of the schema PARTS."""
        taken = self._parts[table]
        if not taken:
            return PARTS.empty_table()
        columns = pa.concat_tables(taken)
        task = columns["task"].to_numpy()
        by_task = np.argsort(task, kind="stable")
        counts = np.bincount(task, minlength=len(self._work))
        firsts = np.cumsum(counts) - counts
        planned = counts[self._order]  # how many parts each task of the plan has
        starts = np.repeat(firsts[self._order] - (np.cumsum(planned) - planned), planned)
        return columns.select(PARTS.names).take(pa.array(by_task[starts + np.arange(len(starts))])).cast(PARTS)

    def ledger(self) -> Ledger:
        """The sum of the commits' ledgers; what is planned twice counts twice."""
        entering = Count()
        sides: dict[str, dict[str, dict[str, Count]]] = {"kept": {}, "dropped": {}}
        for cell in _sum(pa.concat_tables(self._counts)).to_pylist() if self._counts else ():
            count = Count(items=cell["items"], size=cell["size"])
            if cell["side"] == "entering":
                entering += count
            else:
                sides[cell["side"]].setdefault(cell["name"], {})[cell["language"]] = count
        return Ledger(entering=entering, **sides)


def _sum(counts: pa.Table) -> pa.Table:
    summed = counts.group_by(_CELL, use_threads=False).aggregate([("items", "sum"), ("size", "sum")])
    return summed.rename_columns([*_CELL, "items", "size"])
