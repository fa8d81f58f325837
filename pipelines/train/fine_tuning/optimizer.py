"""AdamW over the weights that learn, each layer at its own pace."""

import torch
from transformers import DistilBertForSequenceClassification

from pipelines.core.params import TrainParams


def optimizer(model: DistilBertForSequenceClassification, train: TrainParams) -> torch.optim.AdamW:
    """AdamW with a group per learning rate; biases and norms, which are vectors, do not decay."""
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
    """How many layers lie between a weight and the head: 0 for the head and the last layer."""
    if name.startswith("distilbert.transformer.layer."):
        return layers - 1 - int(name.split(".")[3])
    return layers if name.startswith("distilbert.embeddings.") else 0
