"""One real call to each service: `python calls.py HOST-{}:PORT`. Ends with 1 at the first answer that is not right."""

import sys

from repoloom import client
from repoloom.errors import RepoloomError
from repoloom.protos.corpus.v1.corpus_pb2 import Document, Dropped, File
from repoloom.protos.crawler.v1.crawler_pb2 import Repository
from repoloom.protos.decontaminator.v1.decontaminator_pb2 import BenchmarkText, Hit
from repoloom.protos.dependency_sorter.v1.dependency_sorter_pb2 import Edge
from repoloom.protos.quality_scorer.v1.quality_scorer_pb2 import Score
from repoloom.stages.tokenize.vocabulary import train

USED = b'"""What is used."""\n\n\ndef add(one, other):\n    return one + other\n'
USER = (
    b'from used import add\n\n\ndef main():\n    """Adds two numbers and prints their sum."""\n    print(add(1, 2))\n'
)
LONG = b"x = 1" + b" + 1" * 1000 + b"\n"
FILES = [
    File(repo="a/b", path=path, language="Python", content=content)
    for path, content in (("used.py", USED), ("user.py", USER))
]
DOCUMENT = Document(
    repo="a/b", text=USER * 20, spans=[{"path": "user.py", "language": "Python", "end": len(USER) * 20}]
)


def crawl(at: str) -> None:
    """The crawler reads this image's recipes where it may read local files, and refuses where it may not."""
    with client.Crawler(at) as service:
        try:
            rows = list(service.crawl({"kind": "folder", "path": "/app/pipelines/recipes"}))
        except RepoloomError as error:
            if "local" not in str(error):
                raise
        else:
            assert any(isinstance(row, (File, Repository)) for row in rows), rows


def filter_files(at: str) -> None:
    with client.Filter(at) as service:
        kept, dropped = service.files([FILES[0], File(repo="a/b", path="long.py", content=LONG)])
        assert isinstance(kept, File), kept
        assert isinstance(dropped, Dropped), dropped


def sort(at: str) -> None:
    with client.DependencySorter(at) as service:
        rows = list(service.sort(FILES))
        (document,) = (row for row in rows if isinstance(row, Document))
        assert [span.path for span in document.spans] == ["used.py", "user.py"], document
        assert any(isinstance(row, Edge) for row in rows), rows


def sign(at: str) -> None:
    with client.Deduper(at) as service:
        (signature,) = service.sign([DOCUMENT])
        assert signature.repo == "a/b", signature


def score(at: str) -> None:
    with client.QualityScorer(at) as service:
        assert any(isinstance(row, Score) for row in service.score(FILES))


def find(at: str) -> None:
    with client.Decontaminator(at) as service:
        rows = service.find(FILES, texts=[BenchmarkText(benchmark="mine", text=USER)])
        assert any(isinstance(row, (Hit, Dropped)) for row in rows)


def encode(at: str) -> None:
    tokenizer = train(iter([USER.decode()] * 20), 400).to_str().encode()
    with client.Tokenizer(at) as service:
        ids = list(service.encode([USER.decode()], tokenizer))
        assert list(service.decode(ids, tokenizer)) == [USER.decode()], ids


CALLS = {
    "crawler": crawl,
    "filter": filter_files,
    "dependency-sorter": sort,
    "deduper": sign,
    "quality-scorer": score,
    "decontaminator": find,
    "tokenizer": encode,
}

if __name__ == "__main__":
    for name, call in CALLS.items():
        call(sys.argv[1].format(name))
        print(f"{name} answers", flush=True)
