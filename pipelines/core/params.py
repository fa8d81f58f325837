"""The typed, frozen contents of params.yaml: one section per stage; unknown keys are errors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.core.errors import PipelineError

Precision = Literal["auto", "bf16", "fp32"]


class Section(BaseModel):
    """A section of params.yaml; missing, unknown and out-of-range keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class PrepareParams(Section):
    seed: int = Field(ge=0, lt=2**32)
    test_fraction: float = Field(gt=0, lt=1)
    validation_fraction: float = Field(gt=0, lt=1)
    calibration_fraction: float = Field(gt=0, lt=1)


class PretrainParams(Section):
    epochs: float = Field(ge=0, le=100)
    learning_rate: float = Field(gt=0, lt=1)
    warmup: float = Field(ge=0, lt=1)
    batch_tokens: int = Field(ge=8, le=2**20)
    max_tokens: int = Field(ge=8, le=512)
    hidden: float = Field(gt=0, lt=1)
    weight_decay: float = Field(ge=0, lt=1)


class TrainParams(Section):
    seed: int = Field(ge=0, lt=2**32)
    base: str = Field(min_length=1)
    epochs: float = Field(gt=0, le=100)
    learning_rate: float = Field(gt=0, lt=1)
    layer_decay: float = Field(gt=0, le=1)
    warmup: float = Field(ge=0, lt=1)
    lr_scheduler_type: Literal["linear", "cosine", "constant_with_warmup"]
    max_grad_norm: float = Field(ge=0, le=1000)
    batch_size: int = Field(ge=1, le=4096)
    batch_tokens: int = Field(ge=8, le=2**20)
    early_stopping: int = Field(ge=0, le=100)
    accumulation: int = Field(ge=1, le=1024)
    activation_checkpointing: bool
    max_tokens: int = Field(ge=8, le=512)
    windows: int = Field(ge=1, le=64)
    truncation: Literal["head", "head_tail"]
    dropout: float = Field(ge=0, lt=1)
    label_smoothing: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0, lt=1)
    freeze_embeddings: bool
    precision: Precision
    checkpoint_seconds: float = Field(ge=0, le=86_400)


class ExportParams(Section):
    precision: Literal["int8", "fp32"]
    calibration_reviews: int = Field(ge=10, le=10_000)
    windows: int = Field(ge=1, le=64)
    max_accuracy_loss: float = Field(ge=0, le=1)


class BehaviourParams(Section):
    invariance_names: float = Field(ge=0, le=1)
    invariance_typos: float = Field(ge=0, le=1)
    negation: float = Field(ge=0, le=1)
    intensity: float = Field(ge=0, le=1)
    minimum_function: float = Field(ge=0, le=1)
    emoji: float = Field(ge=0, le=1)
    rating: float = Field(ge=0, le=1)


class EvaluateParams(Section):
    behaviour: BehaviourParams


class RegisterParams(Section):
    refuse_dirty: bool


class Params(Section):
    prepare: PrepareParams
    pretrain: PretrainParams
    train: TrainParams
    export: ExportParams
    evaluate: EvaluateParams
    # The name `register` is taken: pydantic models inherit ABCMeta.register.
    registration: RegisterParams = Field(alias="register")


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read params.yaml. Raises PipelineError naming each invalid key and its limits."""
    try:
        return Params.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing: run this from the project's folder") from None
    except yaml.YAMLError as error:
        raise PipelineError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise PipelineError(f"{path}: {wrong}") from None


def logged_params(params: Params) -> dict[str, str]:
    """Return the params as MLflow stores them, under their dotted names as `dvc exp run -S` takes them."""
    return {name: str(value) for name, value in _flatten(params.model_dump()).items()}


def _flatten(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in section.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
