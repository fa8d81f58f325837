"""BERT's encoder in DistilBERT's layout: the same hidden states under other names."""

from collections.abc import Mapping

import torch

# How much the mean of the tokens counts beside the first token itself at the start of fine-tuning.
MEAN_WEIGHT = 5.0

# BERT's names -> DistilBERT's, inside one layer.
_LAYER = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


def convert_bert(bert: Mapping[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    """BERT's encoder weights under DistilBERT's names, computing the same hidden states.

    DistilBERT has no token-type embedding; a single text is all type 0, so that row is added to every
    position's embedding.
    """
    token_type = bert["embeddings.token_type_embeddings.weight"][0]
    converted = {
        "embeddings.word_embeddings.weight": bert["embeddings.word_embeddings.weight"],
        "embeddings.position_embeddings.weight": bert["embeddings.position_embeddings.weight"] + token_type,
        "embeddings.LayerNorm.weight": bert["embeddings.LayerNorm.weight"],
        "embeddings.LayerNorm.bias": bert["embeddings.LayerNorm.bias"],
    }
    for layer in range(layers):
        for theirs, ours in _LAYER.items():
            for kind in ("weight", "bias"):
                name = f"encoder.layer.{layer}.{theirs}.{kind}"
                converted[f"transformer.layer.{layer}.{ours}.{kind}"] = bert[name]
    return converted


def start_as_mean(layer: torch.nn.Module) -> None:
    """Set a fresh DistilBERT layer so that it adds the mean of all tokens to each of them.

    Queries and keys keep their small random weights, so attention is nearly uniform; values pass
    through; the feed-forward part adds nothing. All of it then learns.
    """
    parts = dict(layer.named_parameters())
    identity = torch.eye(parts["attention.v_lin.weight"].shape[0])
    with torch.no_grad():
        parts["attention.v_lin.weight"].copy_(identity)
        parts["attention.out_lin.weight"].copy_(MEAN_WEIGHT * identity)
        for name in ("attention.v_lin.bias", "attention.out_lin.bias", "ffn.lin2.weight", "ffn.lin2.bias"):
            parts[name].zero_()
