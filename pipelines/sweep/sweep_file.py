"""The typed, frozen contents of sweep.yaml: the number of trials and finalists, and the search space."""

import json
from operator import attrgetter
from pathlib import Path
from typing import Any, Self

import yaml
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial
from pydantic import Field, ValidationError, model_validator

from pipelines.core.errors import PipelineError
from pipelines.core.params import Params, Section, TrainParams

SECTION = "train."
SEARCHABLE = tuple(name for name in TrainParams.model_fields if name != "seed")
"""Params of `train` that a sweep may search. The best seed is the luckiest one, not a better model."""
SEED = "train.seed"
"""The param in which the runs of a finalist differ."""


class Interval(Section):
    """Values from `low` to `high`, inclusive; with `log`, sampled on a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low:g} must be above 0 if log is true")
        return self


Choice = list[bool | int | float | str]
Distribution = CategoricalDistribution | FloatDistribution | IntDistribution


class Sweep(Section):
    """The contents of sweep.yaml; `space` uses the dotted names of params.yaml."""

    trials: int = Field(ge=1, le=10_000)
    startup: int = Field(ge=1, le=1_000)
    finalists: int = Field(default=3, ge=1, le=100)
    seeds: int = Field(default=2, ge=1, le=10)
    space: dict[str, Interval | Choice] = Field(min_length=1)


def load_sweep(params: Params, path: Path = Path("sweep.yaml")) -> Sweep:
    """Read sweep.yaml. Raises PipelineError naming each invalid key or value."""
    try:
        sweep = Sweep.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing: run this from the project's folder") from None
    except yaml.YAMLError as error:
        raise PipelineError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'the file'}: {e['msg']}" for e in error.errors())
        raise PipelineError(f"{path}: {wrong}") from None
    for name, values in sweep.space.items():
        _validate(name, values, params, path)
    return sweep


def distributions(sweep: Sweep) -> dict[str, Distribution]:
    """Return the search space as Optuna distributions."""
    return {name: _distribution(name, values) for name, values in sweep.space.items()}


def suggest(trial: Trial, sweep: Sweep) -> dict[str, Any]:
    """Return the sampler's values for the params of the space."""
    return {name: _suggest(trial, name, wanted) for name, wanted in distributions(sweep).items()}


def baseline(sweep: Sweep, params: Params) -> dict[str, Any]:
    """Return the values in params.yaml of the params in the space."""
    return {name: getattr(params.train, name.removeprefix(SECTION)) for name in sweep.space}


def seed(params: Params) -> int:
    """Return the seed in params.yaml, which every trial has."""
    found: int = attrgetter(SEED)(params)
    return found


def final_seeds(sweep: Sweep, params: Params) -> list[int]:
    """Return the seeds of each finalist's runs. The first is its trial's: that training is in DVC's cache."""
    return [(seed(params) + number) % 2**32 for number in range(sweep.seeds)]


def override(name: str, value: object) -> str:
    """Return `name=value` for `dvc exp run -S`, with full precision."""
    return f"{name}={json.dumps(value)}"


def _suggest(trial: Trial, name: str, wanted: Distribution) -> Any:
    if isinstance(wanted, CategoricalDistribution):
        return trial.suggest_categorical(name, wanted.choices)
    if isinstance(wanted, IntDistribution):
        return trial.suggest_int(name, wanted.low, wanted.high, log=wanted.log)
    return trial.suggest_float(name, wanted.low, wanted.high, log=wanted.log)


def _distribution(name: str, values: Interval | Choice) -> Distribution:
    if not isinstance(values, Interval):
        return CategoricalDistribution(values)
    if TrainParams.model_fields[name.removeprefix(SECTION)].annotation is int:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _validate(name: str, values: Interval | Choice, params: Params, path: Path) -> None:
    """Raise PipelineError if `name` is not a param of `train` or a value is invalid for it."""
    field = name.removeprefix(SECTION)
    if not name.startswith(SECTION) or field not in SEARCHABLE:
        known = ", ".join(SECTION + known for known in SEARCHABLE)
        raise PipelineError(f"{path}: space.{name} cannot be part of a sweep; choose from {known}")
    ends = [values.low, values.high] if isinstance(values, Interval) else values
    if not ends:
        raise PipelineError(f"{path}: space.{name} is empty: give low and high, or a list")
    for value in ends:
        try:
            TrainParams.model_validate(params.train.model_dump() | {field: value})
        except ValidationError as error:
            raise PipelineError(f"{path}: space.{name}: {value}: {error.errors()[0]['msg']}") from None
    current = getattr(params.train, field)
    distribution = _distribution(name, values)
    if not distribution._contains(distribution.to_internal_repr(current)):
        raise PipelineError(
            f"{path}: space.{name} must include {current}, the value in params.yaml, which is tried first"
        )
