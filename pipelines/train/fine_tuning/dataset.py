"""Reviews as the model reads them in training: truncated, or in windows."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from datasets import Dataset
from transformers import EvalPrediction, PreTrainedTokenizerFast

from pipelines.core.params import TrainParams
from pipelines.windows.splitting import split_into_windows


def tokenize(reviews: pd.DataFrame, tokenizer: PreTrainedTokenizerFast, train: TrainParams) -> Dataset:
    """Return a row per window with input_ids, attention_mask, labels, weight and review.

    `weight` is a window's part of its review, whose windows add up to 1, and `review` its position.
    """
    encoded = tokenizer(reviews["text"].tolist(), verbose=False)["input_ids"]
    by_review = [read(ids, train) for ids in encoded]
    counts = np.array([len(windows) for windows in by_review])
    rows = [window for windows in by_review for window in windows]
    position = np.repeat(np.arange(len(reviews)), counts)
    return Dataset.from_dict(
        {
            "input_ids": rows,
            "attention_mask": [[1] * len(ids) for ids in rows],
            "labels": reviews["label"].to_numpy()[position],
            "weight": (1 / counts)[position],
            "review": position,
        }
    )


def read(ids: list[int], train: TrainParams) -> list[list[int]]:
    """Return the windows of a text; with `train.windows` 1, its truncated text is the only one."""
    if train.windows == 1:
        return [truncate(ids, train.max_tokens, train.truncation)]
    return split_into_windows(ids, train.max_tokens - 2, train.windows)


def truncate(ids: list[int], max_tokens: int, truncation: str) -> list[int]:
    """Keep the first (or, `head_tail`, the first and last) tokens, counting [CLS] and [SEP], which stay."""
    if len(ids) <= max_tokens:
        return ids
    tail = max_tokens // 2 if truncation == "head_tail" else 1
    return ids[: max_tokens - tail] + ids[-tail:]


def accuracy_of(validation: Dataset) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return the metric of these rows: a review's prediction is the mean over its windows, as in serving."""
    review = np.asarray(validation["review"])
    weight = np.asarray(validation["weight"])
    labels = np.zeros(review.max() + 1)
    labels[review] = validation["labels"]

    def accuracy(prediction: EvalPrediction) -> dict[str, float]:
        logits = np.asarray(prediction.predictions, dtype=np.float64)
        positive = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
        means = np.bincount(review, weights=weight * positive)
        return {"accuracy": float(((means >= 0.5) == labels).mean())}

    return accuracy
