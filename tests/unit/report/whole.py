"""A report that has everything, each text of it the same."""

from repoloom.corpus.ledger import Count
from repoloom.evaluation.result import Compared, Sample, Scores
from repoloom.report.contamination import Benchmark, Contamination, Hit
from repoloom.report.data import ReportData
from repoloom.report.dependencies import Dependencies, Edge, File
from repoloom.report.dependencies import Example as Ordered
from repoloom.report.duplicates import Alarm, Cluster, Duplicates, Member, Shared
from repoloom.report.evaluation import Measured
from repoloom.report.funnel import Example, Funnel, Language, Passage, Rule
from repoloom.report.limits import Limits
from repoloom.report.notices import Notice
from repoloom.report.provenance import Provenance, Setting, StepCost
from repoloom.report.quality import Quality, Syntax
from repoloom.report.sources import Failure, Failures, KindOfSource, Sources
from repoloom.report.tokens import Domain, LanguageTokens, Packing, Tokens, Vocabulary
from repoloom.report.training import TrainingRecord, TrainingStage, TrainingStep, training

EDGES = (1, 0), (2, 0), (0, 3)


def step(number: int) -> TrainingStep:
    return TrainingStep(
        step=number,
        loss=9 / number,
        learning_rate=3e-4,
        gradient_norm=1,
        tokens_per_second=5000,
        samples_consumed=number,
    )


def stage(name: str, conversations: int | None) -> TrainingStage:
    left_out = None if conversations is None else 56
    return TrainingStage(
        stage=name,
        steps=39,
        tokens=9,
        unigram_loss=3,
        final_loss=2,
        seconds=60,
        conversations=conversations,
        left_out=left_out,
    )


def whole(text: str) -> ReportData:
    """A run of which everything is known, whose every name, path, excerpt and message is `text`."""
    failure = Failure(step=text, kind="crash", at=text, error=text, attempts=3)
    example = Example(repo=text, path=text, language=text, size=9, value=0.1, threshold=0.25, detail=text, excerpt=text)
    count = Count(items=2, size=9)
    rule = Rule(name=text, dropped=count, languages={text: count}, examples=(example,))
    passage = Passage(step=text, entering=Count(items=4, size=18), kept=count, rules=(rule,))
    ordered = Ordered(
        repo=text,
        revision=text,
        document=0,
        files=tuple(File(path=f"{text}{place}", language=text, size=9) for place in range(4)),
        edges=tuple(Edge(importer=importer, imported=imported, line=1, how=text) for importer, imported in EDGES),
        cycles=((0, 3),),
    )
    member = Member(
        repo=text,
        similarity=0.9,
        error=0.01,
        linked=f"{text}2",
        linked_similarity=0.95,
        bytes=9,
        shared=(Shared(path=text, survivor_path=f"{text}2"),),
    )
    record = TrainingRecord(
        parameters=1_000,
        unigram_loss=3,
        steps=tuple(map(step, range(1, 40))),
        seconds=60,
        stages=(stage(text, None), stage(text, 1234)),
    )
    packing = Packing(sequences=100, sequence_length=32, pieces=2, tokens=3000)
    scores = Scores(bits_per_byte=1.5, exact_match=0.2, edit_similarity=0.5)
    compared = Compared(name=text, bytes=9, holes=4, trained=scores, untrained=scores)
    hole = Sample(
        repo=text, path=text, language=text, prefix=text, truth=text, suffix=text, written=f"{text}2", exact=False
    )
    cost = StepCost(tasks=1, seconds=2, cpu_seconds=1, peak_memory=9, bytes_read=9)
    return ReportData(
        name=text,
        version="1",
        digest=f"sha256:{'0' * 64}",
        sources=Sources(
            wanted=3,
            repositories=2,
            kinds=(KindOfSource(kind=text, repositories=2, files=4, bytes=18),),
            licenses=((text, 2),),
            unavailable=1,
            not_reached=(failure,),
        ),
        failures=Failures(total=1, shown=(failure,)),
        notices=(Notice(title=text, text=text),),
        funnel=Funnel(passages=(passage,), columns=(text,), languages=(Language(name=text, seen=count, kept=count),)),
        documents=2,
        dependencies=Dependencies(edges=3, in_order=True, how=((text, 3),), cycles=1, documents=2, example=ordered),
        duplicates=Duplicates(
            threshold=0.85,
            repositories=3,
            clusters=1,
            removed=1,
            shown=(Cluster(survivor=text, bytes=9, removed=1, members=(member,)),),
            alarms=(Alarm(source=text, repositories=1, survivors=(text,)),),
        ),
        quality=Quality(
            files=9,
            flawless=5,
            scores=(1, 0, 3) + (0,) * 17,
            min_score=0.2,
            max_error_share=0.1,
            languages=(Syntax(language=text, valid=1, invalid=1, unknown=1),),
            rest=Syntax(language=text, valid=2, invalid=2, unknown=2),
        ),
        contamination=Contamination(
            benchmarks=(Benchmark(name=text, texts=9, hits=1),),
            hits=1,
            shown=(Hit(benchmark=text, item=text, field=text, repo=text, path=text, rule=text, words=text),),
        ),
        tokens=Tokens(
            vocabulary=Vocabulary(size=300, sample_bytes=9, sample_documents=1),
            tokens=9,
            pieces=2,
            with_hole=1,
            lengths=(1, 0, 0, 1),
            sequence_length=32,
            languages=(LanguageTokens(name=text, tokens=9, bytes=30),),
            mixture=(Domain(domain=text, weight=1, available=9, taken=9),),
            packing=packing,
        ),
        training=training(record, packing, Limits()),
        evaluation=Measured(overall=compared, languages=(compared,), samples=(hole,), held_out=36),
        provenance=(
            Provenance(
                step=text,
                version=1,
                settings=(Setting(name=text, value=text),),
                digest=f"sha256:{'0' * 64}",
                rows=2,
                bytes=9,
                cost=cost,
            ),
        ),
    )
