"""`make bench-gpu`: training and inference on one GPU, against transformers on the same card in the same run.

Training is the loop itself: the 1.3B shape on sequences of random tokens, either packed with documents of a few
hundred tokens or each a document of its own. The peer is `LlamaForCausalLM` of the same shape with scaled dot-product
attention, bfloat16 autocast and fused AdamW, on as many tokens; it masks no documents, and sums in any order.
Resumption is a smaller model whose process is killed. Inference is the engine with an exported model of random weights,
against `generate`. Prints tables; --json prints the figures.
"""

import argparse
import gc
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from repoloom.inference.complete import Completer
from repoloom.inference.engine import Completion, Engine, Finish
from repoloom.inference.generate import Sampling
from repoloom.stages.tokenize.vocabulary import train as train_tokenizer
from repoloom.store import open_store
from repoloom.training.checkpoint import Checkpoints
from repoloom.training.config import TrainParams
from repoloom.training.data import PackedDataset
from repoloom.training.export import export
from repoloom.training.loop import StepReport, new_model, train
from repoloom.training.parallel import SingleProcess, new_optimizer
from repoloom.training.progress_file import peak_flops
from repoloom.training.sizes import SIZES, Architecture

VOCABULARY = 32_022  # of the released models
SEQUENCES = 64
DOCUMENT = 600  # tokens of a middling one
WARM = 4  # steps before any is timed: compiling, and the optimizer's moments
PROMPT, ANSWER = 512, 64
LONG_PROMPT = 2048
BATCHES = (1, 8, 32, 64)
RESUMED = Architecture(
    hidden_size=1024, intermediate_size=2816, num_hidden_layers=4, num_attention_heads=8, num_key_value_heads=4
)
RESUMED_STEPS, KILLED_AFTER = 16, 11  # of which every fifth is saved


class EnoughError(Exception):
    """As many steps as were to be timed are done."""


def packed(folder: Path, sequence_length: int, document: int | None) -> PackedDataset:
    """Sequences of random tokens, of documents of about `document` tokens, log-normal; None: one in each sequence."""
    draw = np.random.default_rng(0)
    tokens = draw.integers(VOCABULARY, size=(SEQUENCES, sequence_length), dtype=np.uint16)
    segments = np.ones_like(tokens)
    for row in segments if document else ():
        lengths = np.maximum(1, draw.lognormal(np.log(document or 1), 1.0, sequence_length)).astype(int)
        row[:] = np.repeat(np.arange(1, sequence_length + 1), lengths)[:sequence_length]
    tokens.tofile(folder / "0.bin")
    segments.tofile(folder / "0.idx")
    return PackedDataset([folder / "0.bin"], [folder / "0.idx"], sequence_length)


def parameters(size: str | Architecture, sequence_length: int, micro: int, micros: int, steps: int) -> TrainParams:
    """Of a run whose steps have so many micro-batches."""
    return TrainParams(
        size=size,
        sequence_length=sequence_length,
        batch_size=micro * micros,
        micro_batch_size=micro,
        steps=steps,
        learning_rate=1e-4,
        warmup_steps=1,
        checkpoint_every=5,
    )


def figures(params: TrainParams, seconds: Sequence[float], operations: float) -> dict[str, Any]:
    """Of steps that took these seconds, and so many operations each: speed, share of the card's peak, and memory."""
    step = statistics.median(seconds)
    return {
        "tokens_per_second": params.batch_size * params.sequence_length / step,
        "mfu": operations / step / (peak_flops(torch.cuda.get_device_name()) or float("nan")),
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30,
        "slowest_step": max(seconds) / step,
    }


@contextmanager
def fresh() -> Iterator[None]:
    """A card without what was there before."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch._dynamo.reset()  # else what was compiled for other shapes is compiled for any, which is slower
    yield


def train_ours(params: TrainParams, document: int | None, steps: int) -> dict[str, Any]:
    """The loop's own steps, as it reports them."""
    seconds: list[float] = []
    operations: list[int] = []
    with fresh(), tempfile.TemporaryDirectory() as scratch:
        data = packed(Path(scratch), params.sequence_length, document)
        last = time.perf_counter()

        def report(step: StepReport) -> None:
            nonlocal last
            now = time.perf_counter()
            seconds.append(now - last)
            operations.append(step.operations)
            last = now
            if step.step == WARM + steps:
                raise EnoughError

        store = open_store(scratch)
        with suppress(EnoughError):
            train(
                params.model_copy(update={"checkpoint_every": 1 << 30}),
                data,
                data_digest="sha256:0",
                vocabulary=VOCABULARY,
                checkpoints=Checkpoints(store, "train", 1),
                plan=SingleProcess(),
                report=report,
            )
        return figures(params, seconds[WARM:], statistics.mean(operations)) | {"warm_up_seconds": sum(seconds[:WARM])}


def train_peer(params: TrainParams, steps: int, compiled: bool) -> dict[str, Any]:
    """The same steps as one writes them with transformers, in the largest micro-batches that fit."""
    try:
        return peer_steps(params, steps, compiled) | {"micro_batch_size": params.micro_batch_size}
    except torch.OutOfMemoryError:
        smaller = params.model_copy(update={"micro_batch_size": params.micro_batch_size // 2})
    return train_peer(smaller, steps, compiled)


def peer_steps(params: TrainParams, steps: int, compiled: bool) -> dict[str, Any]:
    """Tokens a second, and memory."""
    torch.use_deterministic_algorithms(False)
    with fresh():
        architecture = params.architecture(VOCABULARY)
        model = peer(architecture)
        if compiled:
            for layer in model.model.layers:
                layer.compile()
        optimizer = new_optimizer(model, params)
        shape = (params.batch_size // params.micro_batch_size, params.micro_batch_size, params.sequence_length)
        batches = torch.randint(VOCABULARY, shape, device="cuda")
        seconds = []
        for _ in range(WARM + steps):
            began = time.perf_counter()
            for batch in batches:
                with torch.autocast("cuda", dtype=torch.bfloat16):
                    loss = model(input_ids=batch, labels=batch, use_cache=False).loss / len(batches)
                loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), params.gradient_clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
        pairs = params.batch_size * params.sequence_length * (params.sequence_length + 1) // 2
        operations = architecture.training_operations(params.batch_size * params.sequence_length, pairs)
        return figures(params, seconds[WARM:], operations)


def peer(architecture: Architecture) -> Any:
    """transformers' model of the same shape, with float32 weights."""
    from transformers import LlamaConfig, LlamaForCausalLM  # takes seconds, which a process that resumes has no use for

    config = LlamaConfig(
        **architecture.model_dump(exclude={"rope_linear_factor"}), attn_implementation="sdpa", use_cache=True
    )
    with torch.device("cuda"):
        return LlamaForCausalLM(config)


def go_on(folder: Path) -> None:
    """A training that says its steps, in a process that may be killed; the last line is the digest of what it made."""
    params = parameters(RESUMED, 2048, 4, 2, RESUMED_STEPS)
    data = packed(folder, params.sequence_length, DOCUMENT)

    def say(step: StepReport) -> None:
        sys.stdout.write(f"{step.step} {step.loss!r}\n")
        sys.stdout.flush()

    checkpoints = Checkpoints(open_store(str(folder)), "train", 2)
    outcome = train(
        params,
        data,
        data_digest="sha256:0",
        vocabulary=VOCABULARY,
        checkpoints=checkpoints,
        plan=SingleProcess(),
        report=say,
    )
    digest = hashlib.sha256()
    for weight in outcome.weights.values():
        digest.update(weight.cpu().numpy().tobytes())
    sys.stdout.write(f"weights {digest.hexdigest()}\n")


def resume() -> dict[str, Any]:
    """A training that is killed and goes on where nothing is compiled yet, beside one that is left alone."""
    with tempfile.TemporaryDirectory() as scratch:
        alone, killed = (Path(scratch, name) for name in ("alone", "killed"))
        with ThreadPoolExecutor() as pool:
            whole, before = pool.map(_steps, (alone, killed), (None, KILLED_AFTER))
        after = _steps(killed, None)
    first = min(int(step) for step in after if step != "weights")
    return {
        "killed_after_step": KILLED_AFTER,
        "went_on_with_step": first,
        "losses": [whole[str(step)] for step in range(1, RESUMED_STEPS + 1)],
        "losses_of_the_resumed": [(before | after)[str(step)] for step in range(1, RESUMED_STEPS + 1)],
        "same_losses": whole == {**before, **after},
        "same_weights": whole["weights"] == after["weights"],
    }


def _steps(folder: Path, until: int | None) -> dict[str, str]:
    """What a training says, by step; SIGKILL ends it after the step `until`."""
    folder.mkdir(exist_ok=True)
    said = {}
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, __file__, "--go-on", str(folder)]
        environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache, "TRITON_CACHE_DIR": f"{cache}/triton"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout
            for line in process.stdout:
                name, value = line.split()
                said[name] = value
                if name == str(until):
                    process.kill()
                    break
    assert until or not process.returncode
    return said


class Heard:
    """A listener that notes when tokens come."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.done = threading.Event()

    def take(self, _: int) -> bool:
        self.times.append(time.perf_counter())
        return True

    def end(self, _: Finish) -> None:
        self.done.set()

    def fail(self, error: Exception) -> None:
        raise error


def ask(engine: Engine, prompts: Sequence[Sequence[int]], new_tokens: int) -> tuple[float, float]:
    """Seconds until the first token of the first, and until the last of all."""
    heard = [Heard() for _ in prompts]
    began = time.perf_counter()
    engine.submit([Completion(prompt, Sampling(new_tokens), one) for prompt, one in zip(prompts, heard, strict=True)])
    for one in heard:
        one.done.wait()
    return heard[0].times[0] - began, max(one.times[-1] for one in heard) - began


def infer(size: str, batches: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Answers to as many prompts at once as there are slots, by the engine and by `generate`."""
    from transformers import LlamaForCausalLM

    torch.use_deterministic_algorithms(False)
    with fresh(), tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "model")
        tokenizer = train_tokenizer(iter(["def add(a, b):\n    return a + b\n"]), 300).to_str().encode()
        export(new_model(SIZES[size], 0), tokenizer, folder, torch.bfloat16)
        model = Completer.load(folder).model
        other = LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="sdpa").to("cuda")
        draw = np.random.default_rng(0)
        for batch in batches:
            prompts = draw.integers(VOCABULARY, size=(batch, PROMPT)).tolist()
            long = draw.integers(VOCABULARY, size=(1, LONG_PROMPT)).tolist()
            engine = Engine(model, VOCABULARY, batch, LONG_PROMPT + ANSWER, batch)
            ask(engine, prompts, ANSWER)
            seconds = statistics.median(ask(engine, prompts, ANSWER)[1] for _ in range(3))
            first = statistics.median(ask(engine, long, 1)[0] for _ in range(5))
            engine.stop()
            generated(other, prompts, 8)
            theirs = generated(other, prompts, ANSWER)
            yield {
                "batch": batch,
                "tokens_per_second": batch * ANSWER / seconds,
                "peer_tokens_per_second": batch * ANSWER / theirs,
                "first_token_seconds": first,
                "peer_first_token_seconds": statistics.median(generated(other, long, 1) for _ in range(5)),
            }
            del engine
            gc.collect()
            torch.cuda.empty_cache()


def generated(model: Any, prompts: Sequence[Sequence[int]], new_tokens: int) -> float:
    """Seconds that transformers takes."""
    tokens = torch.tensor(prompts, device="cuda")
    torch.cuda.synchronize()
    began = time.perf_counter()
    model.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        min_new_tokens=new_tokens,
        max_new_tokens=new_tokens,
        do_sample=False,
        pad_token_id=0,
    )
    torch.cuda.synchronize()
    return time.perf_counter() - began


def measure(steps: int, micro: int, micro_16k: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything, by what it is called."""
    short, long = parameters("1.3B", 4096, micro, 4, 1000), parameters("1.3B", 16384, micro_16k, 4, 1000)
    for name, params, document in (
        ("train, 4,096, documents", short, DOCUMENT),
        ("train, 4,096, whole", short, None),
        ("train, 16,384, documents", long, DOCUMENT),
    ):
        yield name, train_ours(params, document, steps)
    yield "train, 4,096, transformers", train_peer(short, steps, compiled=False)
    yield "train, 4,096, transformers, its layers compiled", train_peer(short, steps, compiled=True)
    yield "resume", resume()
    for row in infer("1.3B", BATCHES):
        yield f"inference, {row['batch']} at once", row


def main() -> None:
    """Measures, and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="that are timed")
    parser.add_argument("--micro", type=int, default=4, help="sequences of 4,096 tokens at a time; a step has 4 times")
    parser.add_argument("--micro-16k", type=int, default=1, help="the same of 16,384 tokens")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--go-on", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.go_on:
        go_on(options.go_on)
        return
    measured = {"card": torch.cuda.get_device_name(), "torch": torch.__version__}
    table = Table("", "", title=f"{measured['card']}, torch {torch.__version__}")
    for name, row in measure(options.steps, options.micro, options.micro_16k):
        measured[name] = row
        table.add_row(name, "\n".join(f"{key} {value}" for key, value in row.items()))
        gc.collect()
    if options.json:
        sys.stdout.write(json.dumps(measured, indent=1) + "\n")
    else:
        Console().print(table)


if __name__ == "__main__":
    main()
