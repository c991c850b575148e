"""Crawl: real projects in, rows of FILES out. Nothing of a project is ever run, checked out or trusted."""

from repoloom.engine.step import Step
from repoloom.stages.crawl.steps import Crawl, CrawlSources

STEPS: tuple[type[Step], ...] = (CrawlSources, Crawl)  # type: ignore[type-arg]
