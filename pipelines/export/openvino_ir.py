"""Conversion of a DistilBERT classifier to OpenVINO IR, fp32 or int8, and the files of the served form."""

import itertools
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import nncf
import numpy as np
import openvino
import torch
from openvino import opset13 as opset
from torch.jit import TracerWarning  # type: ignore[attr-defined]  # not in its __all__
from transformers import DistilBertForSequenceClassification

from pipelines.modeling.first_token import read_first_token
from pipelines.served_form.classifier import Inputs, inputs, windows


class Logits(torch.nn.Module):
    """The classifier as a function of two tensors that returns logits only, as tracing requires."""

    def __init__(self, model: DistilBertForSequenceClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def convert(model: DistilBertForSequenceClassification) -> openvino.Model:
    """Convert to OpenVINO IR with dynamic axes; the last layer computes only the first token."""
    example = torch.ones(2, 8, dtype=torch.int64)
    read_first_token(model)
    traced = Logits(model).train(False)
    with warnings.catch_warnings():
        # Tracing warns about branches on shapes; tests compare the exported model with this one.
        warnings.simplefilter("ignore", TracerWarning)
        converted = openvino.convert_model(
            traced, example_input={"input_ids": example, "attention_mask": example}
        )
    converted.reshape({name: [-1, -1] for name in ("input_ids", "attention_mask")})
    return converted


def calibration_samples(reference: Path, texts: Sequence[str]) -> list[Inputs]:
    """Return the inputs of the model in `reference` for each window of the texts."""
    text_windows = itertools.chain.from_iterable(windows(reference, texts))
    return [inputs([window], len(window)) for window in text_windows]


def quantize(reference: Path, texts: Sequence[str]) -> openvino.Model:
    """Quantize the IR in `reference` to int8, with activation ranges calibrated on `texts`.

    Weights use half of int8's range, so that sums of two products fit in 16 bits: processors without VNNI
    saturate them, and would give other answers.
    """
    samples = calibration_samples(reference, texts)
    return nncf.quantize(
        openvino.Core().read_model(reference / "model.xml"),
        nncf.Dataset(samples),
        subset_size=len(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
    )


def divide_logits(folder: Path, temperature: float) -> openvino.Model:
    """Return the IR in `folder` with its logits divided by the temperature, in fp32."""
    model = openvino.Core().read_model(folder / "model.xml")
    logits = model.get_results()[0].input(0)
    divided = opset.multiply(logits.get_source_output(), opset.constant(np.float32(1 / temperature)))
    logits.replace_source_output(divided.output(0))
    return model


def write(model: openvino.Model, folder: Path, tokenizer_json: str, serving: dict[str, object]) -> None:
    """Write the four files of the served form (`pipelines.served_form`)."""
    folder.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    (folder / "tokenizer.json").write_text(tokenizer_json)
    (folder / "serving.json").write_text(json.dumps(serving) + "\n")
