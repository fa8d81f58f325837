"""Compare ways to quantize the model, on a processor with VNNI and as one without it computes.

Each variant is made from the fp32 reference and reads validation reviews. A line shows its accuracy, the
share of labels that agree with fp32, and the mean difference of a probability from fp32, with VNNI and
without; then the share of labels that differ between the two, and the largest difference of a probability.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import numpy.typing as npt
import openvino
import pandas as pd
from nncf.quantization.advanced_parameters import AdvancedSmoothQuantParameters

from benchmarks import command
from benchmarks.command import BenchmarkError
from pipelines.core.params import load_params
from pipelines.evaluate import without_vnni
from pipelines.export.openvino_ir import calibration_samples
from pipelines.served_form.classifier import probabilities

REFERENCE = Path("results/export/reference")
PREPARED = Path("results/prepare")

Probabilities = npt.NDArray[np.float64]


def quantized(samples: list[dict[str, Any]], alpha: float | None = None, **options: Any) -> openvino.Model:
    """Return the reference in int8; `alpha` is SmoothQuant's, -1 without it."""
    preset = options.pop("preset", None)
    if alpha is not None:
        options["smooth_quant_alphas"] = AdvancedSmoothQuantParameters(matmul=alpha)
    return nncf.quantize(
        openvino.Core().read_model(REFERENCE / "model.xml"),
        nncf.Dataset(samples),
        preset=preset,
        subset_size=len(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        advanced_parameters=nncf.AdvancedQuantizationParameters(**options),
    )


def variants(texts: list[str], few: int) -> Iterator[tuple[str, Callable[[], openvino.Model]]]:
    """Yield names and functions that make the models; `few` of the texts are for calibration by default."""
    samples, more = (calibration_samples(REFERENCE, part) for part in (texts[:few], texts[: 3 * few]))
    fixed = {"overflow_fix": nncf.OverflowFix.ENABLE}
    yield "no overflow fix", lambda: quantized(samples, overflow_fix=nncf.OverflowFix.DISABLE)
    yield "of the first layer", lambda: quantized(samples, overflow_fix=nncf.OverflowFix.FIRST_LAYER)
    yield "overflow fix", lambda: quantized(samples, **fixed)
    yield "and 3 times the reviews", lambda: quantized(more, **fixed)
    yield "and symmetric", lambda: quantized(samples, preset=nncf.QuantizationPreset.PERFORMANCE, **fixed)
    yield "and SmoothQuant 0.5", lambda: quantized(samples, alpha=0.5, **fixed)
    yield "and no SmoothQuant", lambda: quantized(samples, alpha=-1, **fixed)


def line(exact: Probabilities, limited: Probabilities, fp32: Probabilities, labels: npt.NDArray[Any]) -> str:
    figures = []
    for found in (exact, limited):
        accuracy, agreement = (((found >= 0.5) == of).mean() for of in (labels == 1, fp32 >= 0.5))
        figures += [f"{accuracy:8.4f} {agreement:9.4f} {np.abs(found - fp32).mean():10.4f}"]
    differing = ((exact >= 0.5) != (limited >= 0.5)).mean()
    return f"{'  '.join(figures)}  {differing:9.4f} {np.abs(exact - limited).max():7.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantization", description=__doc__)
    parser.add_argument(
        "--reviews", type=int, default=10**6, help="number of validation reviews; default: all"
    )
    options = parser.parse_args()
    if not without_vnni.has_vnni():
        raise BenchmarkError(
            "this processor has no VNNI, so there is nothing to compare: use another machine"
        )
    nncf.set_log_level(40)
    params = load_params()
    training, validation = (
        pd.read_csv(PREPARED / f"{name}.csv", keep_default_na=False).sample(frac=1, random_state=0)
        for name in ("train", "validation")
    )
    validation = validation[: options.reviews]
    labels, texts = validation["label"].to_numpy(), validation["text"].tolist()
    fp32 = probabilities(REFERENCE, texts)
    header = "accuracy agreement difference"
    print(f"{len(texts)} reviews, fp32 {((fp32 >= 0.5) == labels).mean():.4f}", flush=True)
    print(f"{'':24} {header}  {header}  differing largest", flush=True)
    for name, make in variants(training["text"].tolist(), params.export.calibration_reviews):
        with tempfile.TemporaryDirectory(prefix="quantization-") as folder:
            openvino.save_model(make(), Path(folder, "model.xml"), compress_to_fp16=False)
            for file in ("tokenizer.json", "serving.json"):
                shutil.copy(REFERENCE / file, folder)
            exact = probabilities(Path(folder), texts)
            limited = without_vnni.probabilities(Path(folder), texts)
        print(f"{name:24} {line(exact, limited, fp32, labels)}", flush=True)


if __name__ == "__main__":
    command.run(main)
