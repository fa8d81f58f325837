"""AdamW with layer-wise learning rate decay."""

import torch
from transformers import DistilBertForSequenceClassification

from pipelines.core.params import TrainParams


def optimizer(model: DistilBertForSequenceClassification, train: TrainParams) -> torch.optim.AdamW:
    """Return AdamW over the trainable weights; biases and norms, which are vectors, have no weight decay."""
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            rate = train.learning_rate * train.layer_decay ** height(name, model.config.n_layers)
            decay = train.weight_decay if weight.dim() > 1 else 0.0
            groups.setdefault((rate, decay), []).append(weight)
    return torch.optim.AdamW(
        [{"params": weights, "lr": rate, "weight_decay": decay} for (rate, decay), weights in groups.items()],
        fused=True,
    )


def height(name: str, layers: int) -> int:
    """Return a weight's distance from the head in layers: 0 for the head and the last layer."""
    if name.startswith("distilbert.transformer.layer."):
        return layers - 1 - int(name.split(".")[3])
    return layers if name.startswith("distilbert.embeddings.") else 0
