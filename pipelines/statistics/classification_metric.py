"""The classification metrics, as a module that `evaluate.load` loads by path, without the hub."""

import datasets
import evaluate
from sklearn.metrics import accuracy_score, precision_recall_fscore_support


class Classification(evaluate.Metric):  # type: ignore[misc]  # evaluate is untyped
    """Accuracy, and precision, recall and F1 of the positive class (label 1), all from 0 to 1."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description="predictions and references: labels, 0 or 1",
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: list[int], references: list[int]) -> dict[str, float]:
        precision, recall, f1, _ = precision_recall_fscore_support(
            references, predictions, average="binary", zero_division=0.0
        )
        return {
            "accuracy": float(accuracy_score(references, predictions)),
            "precision": float(precision),
            "recall": float(recall),
            "f1": float(f1),
        }
