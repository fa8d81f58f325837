"""Conversion of a BERT encoder to DistilBERT's layout, with the same hidden states."""

from collections.abc import Mapping

import torch

# Initial weight of the mean over tokens relative to the first token's own state.
MEAN_WEIGHT = 5.0

# Names of one layer's parameters: BERT -> DistilBERT.
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
    """Return BERT's encoder weights under DistilBERT's names; the hidden states are the same.

    DistilBERT has no token-type embeddings. A single text is all type 0, so the embedding of type 0 is
    added to every position embedding.
    """
    token_type = bert["embeddings.token_type_embeddings.weight"][0]
    converted = {
        "embeddings.word_embeddings.weight": bert["embeddings.word_embeddings.weight"],
        "embeddings.position_embeddings.weight": bert["embeddings.position_embeddings.weight"] + token_type,
        "embeddings.LayerNorm.weight": bert["embeddings.LayerNorm.weight"],
        "embeddings.LayerNorm.bias": bert["embeddings.LayerNorm.bias"],
    }
    for layer in range(layers):
        for bert_name, distilbert_name in _LAYER.items():
            for kind in ("weight", "bias"):
                name = f"encoder.layer.{layer}.{bert_name}.{kind}"
                converted[f"transformer.layer.{layer}.{distilbert_name}.{kind}"] = bert[name]
    return converted


def start_as_mean(layer: torch.nn.Module) -> None:
    """Initialise a new DistilBERT layer to add the mean over all tokens to each token.

    Queries and keys keep their small random weights, so attention starts nearly uniform. Values pass
    through and the feed-forward part outputs zero. All weights are trainable.
    """
    parts = dict(layer.named_parameters())
    identity = torch.eye(parts["attention.v_lin.weight"].shape[0])
    with torch.no_grad():
        parts["attention.v_lin.weight"].copy_(identity)
        parts["attention.out_lin.weight"].copy_(MEAN_WEIGHT * identity)
        for name in ("attention.v_lin.bias", "attention.out_lin.bias", "ffn.lin2.weight", "ffn.lin2.bias"):
            parts[name].zero_()
