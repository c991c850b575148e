"""What the server is told besides what every server of repoloom is told (repoloom.rpc.settings)."""

from pydantic import BaseModel, ConfigDict, Field


class InferenceSettings(BaseModel):
    """Each field may come from the environment as REPOLOOM_INFERENCE_…"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    http_address: str = "127.0.0.1:8000"  # port 0: any free one
    name: str = "repoloom"  # of the model, as callers name it
    slots: int = Field(default=8, ge=1, le=256)  # completions that run side by side
    queue: int = Field(default=64, ge=0)  # that wait for a slot; more are refused
    context: int | None = Field(
        default=None, ge=2
    )  # tokens of a prompt and its answer; none: as many as the model reads
    choices: int = Field(default=16, ge=1)  # completions that one request may ask for: prompts times n
    request_seconds: float = Field(default=300, gt=0)  # that a request over HTTP may take
