import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.modeling.length_batches import LengthBatches

LENGTHS = np.random.default_rng(0).integers(3, 64, size=500).tolist()


def epoch(batches: LengthBatches, number: int) -> list[list[int]]:
    batches.set_epoch(number)
    return list(batches)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(
    lengths=st.lists(st.integers(1, 600), min_size=1, max_size=200),
    reviews=st.integers(1, 40),
    tokens=st.integers(1, 2000),
)
def test_every_review_is_in_one_batch_within_the_limits(
    lengths: list[int], reviews: int, tokens: int
) -> None:
    batches = LengthBatches(lengths, reviews, tokens, seed=1)
    found = epoch(batches, 0)
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    assert len(found) == len(batches)
    for batch in found:
        assert len(batch) <= reviews
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= tokens


def test_the_order_depends_on_the_epoch_and_the_seed() -> None:
    batches = LengthBatches(LENGTHS, 16, 10_000, seed=1)
    first, second = epoch(batches, 0), epoch(batches, 1)
    assert first != second
    assert len(first) == len(second)
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}
    assert epoch(LengthBatches(LENGTHS, 16, 10_000, seed=1), 1) == second
    assert epoch(LengthBatches(LENGTHS, 16, 10_000, seed=2), 1) != second


@pytest.mark.parametrize("number", [0, 3])
def test_batches_contain_little_padding(number: int) -> None:
    batches = epoch(LengthBatches(LENGTHS, 16, 10_000, seed=1), number)
    padded = sum(len(batch) * max(LENGTHS[row] for row in batch) for batch in batches)
    assert sum(LENGTHS) / padded > 0.95
