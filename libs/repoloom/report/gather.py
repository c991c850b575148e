"""Gathers what the page says from the datasets of a run: only the columns it needs, one row group at a time."""

from collections.abc import Sequence

from repoloom import __version__
from repoloom.corpus.dataset import Dataset
from repoloom.evaluation.result import Evaluation
from repoloom.report.contamination import contamination
from repoloom.report.data import ReportData
from repoloom.report.dependencies import dependencies
from repoloom.report.duplicates import duplicates
from repoloom.report.evaluation import measured
from repoloom.report.funnel import funnel
from repoloom.report.limits import Limits
from repoloom.report.notices import notices
from repoloom.report.provenance import provenance
from repoloom.report.quality import quality
from repoloom.report.sources import failures, sources
from repoloom.report.tables import Tables
from repoloom.report.tokens import tokens
from repoloom.report.training import TrainingRecord, training


def gather(
    name: str,
    datasets: Sequence[Dataset],
    training_record: TrainingRecord | None = None,
    evaluation: Evaluation | None = None,
    limits: Limits | None = None,
) -> ReportData:
    """Everything that the datasets of a run, in the order they were made, and its training and evaluation tell.

    A run may end early: what it did not do is None. Raises CorruptDataError where a part is not what was committed.
    """
    limits = limits or Limits()
    tables = Tables(datasets)
    tokenized = tokens(tables)
    return ReportData(
        name=name,
        version=__version__,
        digest=datasets[-1].digest,
        sources=sources(tables, limits),
        failures=failures(datasets, limits),
        notices=tuple(notice for dataset in datasets for notice in notices(dataset)),
        funnel=funnel(datasets, limits),
        documents=tables.count("documents"),
        dependencies=dependencies(tables),
        duplicates=duplicates(tables, limits),
        quality=quality(tables, limits),
        contamination=contamination(tables, limits),
        tokens=tokenized,
        training=training(training_record, tokenized.packing if tokenized else None, limits),
        evaluation=None if evaluation is None else measured(evaluation, tables, limits),
        provenance=provenance(datasets, limits),
    )
