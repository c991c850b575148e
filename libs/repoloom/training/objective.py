"""What training makes small: the cross entropy of a packed batch, as one module from tokens to nats."""

import torch
from torch import Tensor, nn

from repoloom.training.attention import packed_documents, packed_mask
from repoloom.training.data import Batch
from repoloom.training.loss import summed_cross_entropy
from repoloom.training.model import Llama


class Objective(nn.Module):
    """A model and its loss, in one module so that whoever shards the model's weights knows that the loss needs them."""

    def __init__(self, model: Llama) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Tensor:
        """The summed loss of a batch, in nats; bfloat16 on a GPU."""
        with torch.autocast(batch.tokens.device.type, dtype=torch.bfloat16, enabled=batch.tokens.is_cuda):
            visible = packed_documents(batch.positions) if batch.tokens.is_cuda else packed_mask(batch.segments)
            hidden = self.model(batch.tokens, batch.positions, visible)
            return summed_cross_entropy(hidden, self.model.output_weight, batch.targets)
