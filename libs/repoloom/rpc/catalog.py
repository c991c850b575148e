"""The seven services, in the order of the path, and the stages that each runs as batch jobs."""

from enum import StrEnum


class Name(StrEnum):
    """The services, each named as its module and its proto's package."""

    CRAWLER = "crawler"
    FILTER = "filter"
    DEPENDENCY_SORTER = "dependency_sorter"
    DEDUPER = "deduper"
    QUALITY_SCORER = "quality_scorer"
    DECONTAMINATOR = "decontaminator"
    TOKENIZER = "tokenizer"


STAGES = {
    Name.CRAWLER: ("crawl",),
    Name.FILTER: ("filter",),
    Name.DEPENDENCY_SORTER: ("order",),
    Name.DEDUPER: ("dedup",),
    Name.QUALITY_SCORER: ("quality",),
    Name.DECONTAMINATOR: ("decontaminate",),
    Name.TOKENIZER: ("split", "tokenize", "mix", "pack"),
}
