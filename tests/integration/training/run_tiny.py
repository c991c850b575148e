"""A tiny training run for a process of its own.

It says each step before it saves it, and saves once it is answered.
"""

from multiprocessing.connection import Connection
from pathlib import Path

from repoloom.store import open_store
from repoloom.training.checkpoint import Checkpoints
from repoloom.training.config import TrainParams
from repoloom.training.data import PackedDataset
from repoloom.training.export import export
from repoloom.training.loop import StepReport, train
from repoloom.training.model import Llama
from repoloom.training.parallel import SingleProcess
from repoloom.training.sizes import Architecture

PARAMS = TrainParams(
    size=Architecture(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        rope_linear_factor=1.0,
        tie_word_embeddings=True,
    ),
    sequence_length=32,
    batch_size=4,
    micro_batch_size=2,
    steps=12,
    learning_rate=1e-2,
    warmup_steps=2,
    threads=2,
    checkpoint_every=1,
)


def main(data: Path, checkpoints: Path, exported: Path, listener: "Connection[str, None]") -> None:
    """Trains to the end, or until it is asked to stop, and exports."""
    packed = PackedDataset([data / "0.bin"], [data / "0.idx"], PARAMS.sequence_length)

    def say(step: StepReport) -> None:
        listener.send(f"{step.step} {step.loss!r} {step.samples_consumed}")
        listener.recv()

    outcome = train(
        PARAMS,
        packed,
        data_digest="sha256:0",
        vocabulary=300,
        checkpoints=Checkpoints(open_store(str(checkpoints)), "train", PARAMS.keep),
        plan=SingleProcess(),
        report=say,
    )
    if outcome.finished:
        export(Llama.of(PARAMS.architecture(300), outcome.weights), (data / "tokenizer.json").read_bytes(), exported)
