"""Sketching speed and accuracy against datasketch and, where it is installed, rensa, on the same word 5-grams.

    python tests/benchmarks/dedup_peers.py [--megabytes 20] [--json]

The text is the source of Python's standard library. The peers take strings: cutting the text into words and shingles
with regular expressions is timed apart from what they do with them. MB/s are of one core's time (`time.process_time`),
the best of three. Accuracy is the root mean square error over pairs of repositories whose exact similarity is known.
"""

import argparse
import itertools
import json
import random
import re
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from datasketch import MinHash
from rich.console import Console
from rich.table import Table

from repoloom.corpus.words import as_text
from repoloom.stages.dedup.minhash import SHINGLE_WORDS, RepositorySketch
from repoloom.stages.dedup.params import DedupParams
from repoloom.stages.dedup.similarity import compare

PARAMS = DedupParams()
WORD = re.compile(rb"[A-Za-z0-9_\x80-\xff]+")
PAIRS = 60
RUNS = 3


@dataclass
class Figures:
    """What was measured of one implementation."""

    name: str
    megabytes_a_second: float  # from bytes to the signature
    hashing_megabytes_a_second: float  # from ready shingles to the signature
    error: float  # root mean square, of the similarity


def shingles(content: bytes) -> list[str]:
    words = [word.decode("utf-8", "replace") for word in WORD.findall(content)]
    return [" ".join(words[i : i + SHINGLE_WORDS]) for i in range(max(1, len(words) - SHINGLE_WORDS + 1))]


def sources(size: int) -> Iterator[bytes]:
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        content = path.read_bytes()
        if len(content) > 2000:
            yield content
            size -= len(content)
        if size <= 0:
            return


def edited(draw: random.Random, content: bytes, share: float) -> bytes:
    return WORD.sub(lambda word: b"edited" if draw.random() < share else word[0], content)


def seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(RUNS):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def sketch(content: bytes) -> RepositorySketch:
    made = RepositorySketch(PARAMS.slots, PARAMS.sketch)
    made.add(as_text(content), np.zeros(1, np.int64), np.array([len(content)]))
    return made


def sketch_similarity(one: bytes, other: bytes) -> float:
    both, union = compare(sketch(one).smallest(), sketch(other).smallest(), PARAMS.sketch)
    return both / union


def with_datasketch(of: Sequence[str]) -> MinHash:
    made = MinHash(num_perm=PARAMS.slots)
    made.update_batch([shingle.encode() for shingle in of])
    return made


def rensa_module() -> ModuleType | None:
    try:
        import rensa
    except ImportError:
        return None
    return rensa


def measure_peer(
    name: str, minhash: Callable[[Sequence[str]], object], texts: list[bytes], pairs: list[tuple[bytes, bytes, float]]
) -> Figures:
    ready = [shingles(text) for text in texts]
    size = sum(map(len, texts)) / 1e6
    hashing = seconds(lambda: [minhash(of) for of in ready])
    cutting = seconds(lambda: [shingles(text) for text in texts])
    estimates = [minhash(shingles(one)).jaccard(minhash(shingles(other))) for one, other, _ in pairs]  # type: ignore[attr-defined]
    return Figures(name, size / (hashing + cutting), size / hashing, rms(estimates, pairs))


def rms(estimates: Sequence[float], pairs: list[tuple[bytes, bytes, float]]) -> float:
    return float(
        np.sqrt(np.mean([(estimate - exact) ** 2 for estimate, (*_, exact) in zip(estimates, pairs, strict=True)]))
    )


def pairs_of(texts: list[bytes]) -> list[tuple[bytes, bytes, float]]:
    """Pairs of repositories of some hundred kB, from alike to unlike, and their exact similarity."""
    draw = random.Random(0)
    pairs = []
    for share in itertools.islice(itertools.cycle([0.002, 0.01, 0.02, 0.04, 0.1]), PAIRS):
        one = b"\n".join(draw.sample(texts, 8))
        other = edited(draw, one, share)
        mine, its = set(shingles(one)), set(shingles(other))
        pairs.append((one, other, len(mine & its) / len(mine | its)))
    return pairs


def measure(size: int) -> list[Figures]:
    texts = list(sources(size))
    pairs = pairs_of(texts)
    sketch(texts[0]).smallest()  # compiles
    own = sum(map(len, texts)) / 1e6 / seconds(lambda: [sketch(text).smallest() for text in texts])
    whole = b"\n".join(texts)
    whole_speed = len(whole) / 1e6 / seconds(lambda: sketch(whole).smallest())
    error = rms([sketch_similarity(one, other) for one, other, _ in pairs], pairs)
    figures = [
        Figures("repoloom, a file each", own, own, error),
        Figures("repoloom, one repository", whole_speed, whole_speed, error),
    ]
    few = texts[: max(1, len(texts) // 10)]  # the peers are too slow for all
    figures.append(measure_peer("datasketch", with_datasketch, few, pairs))
    if rensa := rensa_module():

        def with_rensa(of: Sequence[str]) -> object:
            made = rensa.RMinHash(num_perm=PARAMS.slots, seed=1)
            made.update(of)
            made.digest()  # it works when it is asked
            return made

        figures.append(measure_peer("rensa", with_rensa, few, pairs))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = measure(options.megabytes * 1_000_000)
    if options.json:
        print(json.dumps([asdict(one) for one in figures], indent=1))
        return
    table = Table("", "MB/s", "MB/s from shingles", "ratio", "error of similarity")
    own = figures[1].megabytes_a_second
    for one in figures:
        speeds = f"{one.megabytes_a_second:.1f}", f"{one.hashing_megabytes_a_second:.1f}"
        table.add_row(one.name, *speeds, f"{own / one.megabytes_a_second:.1f}x", f"{one.error:.4f}")
    Console().print(table)


if __name__ == "__main__":
    main()
