"""Clients of the services, one class for each: `with Filter("localhost:7002") as filter: ...`.

Online calls take what comes and yield what is found, as rows of repoloom.protos; batch jobs are started by `start` and
followed as an `Operation`. `Inference` asks a model that is served. Errors are repoloom's own. Docs: docs/services.md,
docs/serving.md.
"""

from collections.abc import Mapping

from repoloom.client.crawler import Crawler
from repoloom.client.decontaminator import Decontaminator
from repoloom.client.deduper import Deduper
from repoloom.client.dependency_sorter import DependencySorter
from repoloom.client.filter import Filter
from repoloom.client.inference import Inference
from repoloom.client.operation import Operation
from repoloom.client.quality_scorer import QualityScorer
from repoloom.client.service import ServiceClient
from repoloom.client.tokenizer import Tokenizer

CLIENTS: Mapping[str, type[ServiceClient]] = {
    kind.name: kind for kind in (Crawler, Filter, DependencySorter, Deduper, QualityScorer, Decontaminator, Tokenizer)
}
"""The client of each of the seven services, in the order of the path."""

__all__ = [
    "CLIENTS",
    "Crawler",
    "Decontaminator",
    "Deduper",
    "DependencySorter",
    "Filter",
    "Inference",
    "Operation",
    "QualityScorer",
    "ServiceClient",
    "Tokenizer",
]
