"""Sources, near-duplicates, decontamination, provenance: what is gathered of each, and how much."""

from report.written import (
    ALARMS,
    BENCHMARKS,
    CLUSTERS,
    DOCUMENTS,
    FILES,
    HITS,
    REPOSITORIES,
    SCORES,
    SIGNATURES,
    SOURCES,
    Writer,
    document,
    file,
    row,
)

from repoloom.corpus.manifest import Quarantined
from repoloom.engine.task import Cost
from repoloom.report.contamination import contamination
from repoloom.report.duplicates import duplicates
from repoloom.report.limits import Limits
from repoloom.report.provenance import provenance
from repoloom.report.quality import quality
from repoloom.report.sources import failures, sources
from repoloom.report.tables import Tables


def failure(kind: str, at: str) -> Quarantined:
    return Quarantined(task=at, inputs={}, at=at, kind=kind, error=f"{at} failed", attempts=3)


def test_sources_that_could_not_be_reached_are_told_apart_from_tasks_that_failed(write: Writer) -> None:
    crawl = [
        write("crawl.sources", {"sources": (SOURCES, [row(SOURCES, repo=str(number)) for number in range(4)])}),
        write(
            "crawl",
            {"repositories": (REPOSITORIES, [row(REPOSITORIES, kind=kind, files=2, license="MIT") for kind in "gp"])},
            quarantined=[failure("unavailable", "away"), failure("crash", "broken")],
        ),
    ]
    found = sources(Tables(crawl), Limits())
    assert found is not None
    assert (found.wanted, found.repositories, found.unavailable) == (4, 2, 1)
    assert [(lost.at, lost.error) for lost in found.not_reached] == [("away", "away failed")]
    assert found.licenses == (("MIT", 2),)
    given_up = failures(crawl, Limits())
    assert given_up is not None
    assert [(lost.step, lost.kind, lost.at) for lost in given_up.shown] == [("crawl", "crash", "broken")]


def test_a_flood_of_failures_is_counted_and_cut(write: Writer) -> None:
    step = write("filter", {}, quarantined=[failure("error", str(number)) for number in range(9)])
    found = failures([step], Limits(failures=4))
    assert found is not None
    assert (found.total, len(found.shown)) == (9, 4)


def cluster(number: int, members: int) -> list[dict[str, object]]:
    survivor = f"{number}/0"
    return [
        row(CLUSTERS, cluster=number, repo=f"{number}/{member}", survivor=survivor, similarity=0.9, linked=survivor)
        for member in range(members + 1)
    ]


def test_clusters_are_counted_and_only_some_are_held(write: Writer) -> None:
    rows = [member for number in range(5) for member in cluster(number, members=number + 1)]
    alarms = [row(ALARMS, source="4", repositories=6, survivors=["4/0"])]
    signatures = [row(SIGNATURES, repo=str(number)) for number in range(20)]
    tables = Tables(
        [
            write("dedup.signatures", {"signatures": (SIGNATURES, signatures)}),
            write(
                "dedup.components",
                {"clusters": (CLUSTERS, rows), "alarms": (ALARMS, alarms)},
                params={"threshold": 0.85},
            ),
        ]
    )
    found = duplicates(tables, Limits(clusters=3, members=2))
    assert found is not None
    assert (found.repositories, found.clusters, found.removed, found.threshold) == (20, 5, 15, 0.85)
    assert [(its.survivor, its.removed, len(its.members)) for its in found.shown] == [
        ("0/0", 1, 1),
        ("1/0", 2, 2),
        ("2/0", 3, 2),
    ]
    assert found.alarms[0].source == "4"


def test_benchmarks_without_a_hit_are_named_too(write: Writer) -> None:
    texts = [row(BENCHMARKS, benchmark=name) for name in "mhh"]
    hits = [row(HITS, benchmark="h", words="w" * 500)] * 3
    loaded = write("decontaminate.benchmarks", {"benchmarks": (BENCHMARKS, texts)})
    found = contamination(
        Tables([loaded, write("decontaminate", {"hits": (HITS, hits)})]), Limits(hits=2, characters=100)
    )
    assert found is not None
    assert [(its.name, its.texts, its.hits) for its in found.benchmarks] == [("h", 2, 3), ("m", 1, 0)]
    assert [len(hit.words) for hit in found.shown] == [100, 100]


def test_scores_are_binned_and_syntax_is_told_by_language(write: Writer) -> None:
    verdicts = [("C", "valid", 1.0), ("C", "invalid", 0.0), ("Go", "valid", 0.99), ("Rust", "unknown", 0.04)]
    rows = [row(SCORES, language=language, syntax=syntax, score=score) for language, syntax, score in verdicts]
    step = write("quality", {"scores": (SCORES, rows)}, params={"min_score": 0.2, "max_error_share": 0.1})
    found = quality(Tables([step]), Limits(syntax=2))
    assert found is not None
    assert (found.files, found.flawless, found.scores[0], found.scores[-1], sum(found.scores)) == (4, 1, 2, 1, 3)
    assert [(its.language, its.valid, its.invalid, its.unknown) for its in found.languages] == [
        ("C", 1, 1, 0),
        ("Go", 1, 0, 0),
    ]
    assert found.rest is not None
    assert (found.rest.language, found.rest.unknown) == ("1 other", 1)


def test_only_parameters_other_than_the_defaults_are_told(write: Writer) -> None:
    (made,) = provenance([write("split", {}, params={"fraction": 0.25, "seed": 0})], Limits())
    assert [(setting.name, setting.value) for setting in made.settings] == [("fraction", "0.25")]


def test_a_long_parameter_is_told_by_its_length(write: Writer) -> None:
    (made,) = provenance([write("elsewhere", {}, params={"sources": ["x" * 50] * 90})], Limits())
    assert [setting.value for setting in made.settings] == ["90 entries"]


def test_the_cost_of_a_step_is_that_of_the_tasks_whose_parts_it_holds(write: Writer) -> None:
    crawl = write(
        "crawl",
        {"files": (FILES, [file("a", "x.py", 100)])},
        kept=("files",),
        entering=(1, 100),
        cost=Cost(seconds=2.0, cpu_seconds=1.0, peak_memory=5),
    )
    sketched = write(
        "dedup.signatures",
        {"signatures": (SIGNATURES, [row(SIGNATURES, repo="a")])},
        inputs=["documents"],
        cost=Cost(seconds=1.0, cpu_seconds=1.0, peak_memory=7),
    )
    banded = write("dedup.bands", {"signatures": (SIGNATURES, [row(SIGNATURES, repo="a")])}, inputs=["bands"])
    costs = [made.cost for made in provenance([crawl, sketched, banded], Limits())]
    assert costs[0] is not None
    assert costs[1] is not None
    assert (costs[0].tasks, costs[0].bytes_read, costs[0].peak_memory) == (1, 100, 5)
    assert costs[1].bytes_read == 100
    assert costs[2] is None


def test_what_a_run_did_not_do_is_none(write: Writer) -> None:
    tables = Tables([write("order", {"documents": (DOCUMENTS, [document("a", 0, ["x.py"])])})])
    assert sources(tables, Limits()) is None
    assert duplicates(tables, Limits()) is None
    assert contamination(tables, Limits()) is None
    assert quality(tables, Limits()) is None
