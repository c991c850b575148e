"""All that the page says: one model, from which the same page is rendered anywhere."""

from repoloom.corpus.manifest import Record
from repoloom.report.contamination import Contamination
from repoloom.report.dependencies import Dependencies
from repoloom.report.duplicates import Duplicates
from repoloom.report.evaluation import Measured
from repoloom.report.funnel import Funnel
from repoloom.report.notices import Notice
from repoloom.report.provenance import Provenance
from repoloom.report.quality import Quality
from repoloom.report.sources import Failures, Sources
from repoloom.report.tokens import Tokens
from repoloom.report.training import Training


class ReportData(Record):
    """A run. What is None did not happen in it, and the page does not speak of it."""

    name: str
    version: str  # of repoloom
    digest: str  # of the last dataset
    sources: Sources | None
    failures: Failures | None
    notices: tuple[Notice, ...]
    funnel: Funnel | None
    documents: int | None
    dependencies: Dependencies | None
    duplicates: Duplicates | None
    quality: Quality | None
    contamination: Contamination | None
    tokens: Tokens | None
    training: Training | None
    evaluation: Measured | None
    provenance: tuple[Provenance, ...]
