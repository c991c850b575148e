import itertools
import random
import re
from collections.abc import Callable, Mapping

import pyarrow as pa
import pytest

Repositories = dict[str, dict[str, bytes]]
Run = Callable[..., dict[str, pa.Table]]

VOCABULARY = [f"word{number}" for number in range(400)]


def code(draw: random.Random, words: int) -> bytes:
    return " ".join(draw.choices(VOCABULARY, k=words)).encode()


def edited(draw: random.Random, content: bytes, share: float) -> bytes:
    words = [draw.choice(VOCABULARY) if draw.random() < share else word.decode() for word in content.split()]
    return " ".join(words).encode()


def corpus(seed: int) -> Repositories:
    """Families of repositories of all sizes, each a copy of some other with more or fewer words changed."""
    draw = random.Random(seed)
    repositories: Repositories = {}
    for family in range(12):
        original = {f"src/{number}.py": code(draw, draw.choice([3, 40, 300])) for number in range(draw.randint(1, 4))}
        repositories[f"git/{family}-0"] = original
        for copy in range(1, draw.randint(1, 5)):
            share = draw.choice([0, 0, 0.005, 0.01, 0.04, 0.1])
            repositories[f"{draw.choice(['git', 'pypi'])}/{family}-{copy}"] = {
                f"lib/{path}": edited(draw, content, share) for path, content in original.items()
            }
    return repositories


def shingles(files: Mapping[str, bytes]) -> set[bytes]:
    found = set()
    for content in files.values():
        words = re.findall(rb"\w+", content)
        found |= {b" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4) if words else 0)}
    return found


def similarity(one: Mapping[str, bytes], other: Mapping[str, bytes]) -> float:
    mine, its = shingles(one), shingles(other)
    return len(mine & its) / len(mine | its) if mine or its else 0


def words(files: Mapping[str, bytes]) -> int:
    return sum(len(content.split()) for content in files.values())


def removed_by_brute_force(repositories: Repositories, threshold: float) -> dict[str, str]:
    """Removed repository -> survivor, from all pairs and their exact similarities."""
    order = sorted(repositories, key=lambda repo: (-words(repositories[repo]), repo))
    near = {
        pair: similarity(repositories[pair[0]], repositories[pair[1]]) >= threshold
        for pair in itertools.combinations(order, 2)
    }
    survivors: list[str] = []
    removed: dict[str, str] = {}
    for repo in order:
        survivor = next((other for other in survivors if near[other, repo]), None)
        if survivor is None:
            survivors.append(repo)
        else:
            removed[repo] = survivor
    return removed


def removed_of(tables: Mapping[str, pa.Table]) -> dict[str, str]:
    return {row["repo"]: row["survivor"] for row in tables["clusters"].to_pylist() if row["repo"] != row["survivor"]}


def rows_of(table: pa.Table) -> list[str]:
    return sorted(map(repr, table.to_pylist()))


@pytest.mark.parametrize("seed", range(6))
def test_removed_are_those_that_brute_force_removes(run_dedup: Run, seed: int) -> None:
    repositories = corpus(seed)
    tables = run_dedup(repositories, sketch=4096)  # all shingles fit: similarities are exact
    assert removed_of(tables) == removed_by_brute_force(repositories, 0.85)


def test_the_kept_and_the_dropped_are_all_files(run_dedup: Run) -> None:
    repositories = corpus(0)
    tables = run_dedup(repositories)
    removed = removed_of(tables)
    assert removed
    kept = set(tables["documents"]["repo"].to_pylist())
    assert kept == set(repositories) - set(removed)
    drops = tables["dropped"].to_pylist()
    expected = {(repo, path, len(content)) for repo in removed for path, content in repositories[repo].items()}
    assert {(drop["repo"], drop["path"], drop["size"]) for drop in drops} == expected
    for drop in drops:
        assert (drop["rule"], drop["threshold"]) == ("near_duplicate", 0.85)
        assert drop["value"] >= 0.85
        assert removed[drop["repo"]] in drop["detail"]


@pytest.mark.parametrize("task_bytes", [1, 20_000, 1 << 30])
def test_neither_the_order_of_the_input_nor_its_parts_nor_its_tasks_change_the_result(
    run_dedup: Run, task_bytes: int
) -> None:
    repositories = corpus(3)
    first = run_dedup(repositories)
    names = list(repositories)
    random.Random(5).shuffle(names)
    parts = [{name: repositories[name] for name in names[start::5]} for start in range(5)]
    second = run_dedup(*parts, task_bytes=task_bytes)
    for table in ("clusters", "alarms", "documents", "dropped"):
        assert rows_of(first[table]) == rows_of(second[table])


def test_a_removal_comes_with_its_evidence(run_dedup: Run) -> None:
    draw = random.Random(0)
    shared, other = code(draw, 800), code(draw, 20)
    repositories = {
        "git/origin": {"a.py": shared, "b.py": other, "extra.py": b"one word more than the copy has"},
        "git/copy": {"deep/a.py": shared, "deep/b.py": other},
    }
    tables = run_dedup(repositories)
    origin, copy = tables["clusters"].to_pylist()
    assert origin["repo"] == origin["survivor"] == "git/origin"
    assert (copy["repo"], copy["survivor"], copy["linked"]) == ("git/copy", "git/origin", "git/origin")
    assert copy["similarity"] == copy["linked_similarity"] == similarity(*repositories.values())
    assert copy["error"] == 0
    assert copy["cluster"] == origin["cluster"]
    assert {(file["path"], file["survivor_path"]) for file in copy["shared"]} == {
        ("deep/a.py", "a.py"),
        ("deep/b.py", "b.py"),
    }


def test_an_estimated_similarity_says_how_far_it_may_be_off(run_dedup: Run) -> None:
    draw = random.Random(0)
    original = code(draw, 20_000)
    repositories = {"git/a": {"a.py": original}, "git/b": {"a.py": edited(draw, original, 0.01)}}
    copy = run_dedup(repositories)["clusters"].to_pylist()[1]
    assert 0 < copy["error"] < 0.011
    assert copy["similarity"] == pytest.approx(similarity(*repositories.values()), abs=5 * copy["error"])


def test_paths_and_path_comments_do_not_count(run_dedup: Run) -> None:
    content = b"these are the five words and some more"
    tables = run_dedup({"a/a": {"x.py": content}, "b/b": {"some/quite/different/name_of_a_file.py": content}})
    assert removed_of(tables) == {"b/b": "a/a"}


def test_empty_repositories_are_no_duplicates_and_tiny_ones_only_of_their_equals(run_dedup: Run) -> None:
    repositories: Repositories = {
        "e/none": {},
        "e/empty": {"a.py": b""},
        "e/marks": {"a.py": b"+-*/"},
        "e/marks-too": {"a.py": b"+-*/"},
        "t/one": {"a.py": b"x = 1"},
        "t/same": {"b.py": b"x=1"},
        "t/other": {"a.py": b"x = 2"},
    }
    tables = run_dedup(repositories)
    assert removed_of(tables) == {"t/same": "t/one"}
    assert {"e/none", "e/empty", "e/marks", "e/marks-too", "t/one", "t/other"} == set(
        tables["documents"]["repo"].to_pylist()
    )


def test_a_corpus_without_duplicates_passes_whole(run_dedup: Run) -> None:
    tables = run_dedup({"a/a": {"a.py": b"nothing like the other"}, "b/b": {"a.py": b"all words differ here"}})
    assert set(tables["documents"]["repo"].to_pylist()) == {"a/a", "b/b"}
    assert not any(len(tables[table]) for table in ("clusters", "alarms", "dropped"))


def test_an_alarm_names_a_source_of_which_nothing_is_left(run_dedup: Run) -> None:
    draw = random.Random(0)
    one, two, own = code(draw, 60), code(draw, 50), code(draw, 40)
    tables = run_dedup(
        {
            "git/one": {"a.py": one},
            "git/two": {"a.py": two},
            "mirror/one": {"a.py": one},
            "mirror/two": {"a.py": two},
            "pypi/one": {"a.py": one},
            "pypi/own": {"a.py": own},
        }
    )
    assert tables["alarms"].to_pylist() == [
        {"source": "mirror", "repositories": 2, "survivors": ["git/one", "git/two"]}
    ]
