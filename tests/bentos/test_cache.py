from pathlib import Path

from bentos.sentiment.cache import Cache
from bentos.sentiment.champion.loaded import LoadedModel, engine_threads
from bentos.sentiment.champion.store import StoredModel
from bentos.sentiment.settings import Settings
from tests.bentos.reviews import REVIEWS


def test_the_least_recently_used_text_is_evicted() -> None:
    cache = Cache[int](2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    assert len(cache) == 2


def test_size_0_disables_the_cache() -> None:
    cache = Cache[int](0)
    cache.put("a", 1)
    assert cache.get("a") is None
    assert len(cache) == 0


def test_texts_that_differ_in_one_character_are_different() -> None:
    cache = Cache[int](10)
    for number, text in enumerate(["", "a", "a ", "A", "é", "e\u0301", "\ud800"]):
        assert cache.get(text) is None
        cache.put(text, number)
    assert cache.get("A") == 3


def load(folder: Path, **settings: int) -> LoadedModel:
    model = StoredModel("sentiment:1-x", "1", folder)
    return LoadedModel.load(model, Settings().model_copy(update=settings))


def test_cached_predictions_are_those_of_the_engine(serving: list[Path]) -> None:
    cached, uncached = load(serving[0]), load(serving[0], cache_texts=0)
    texts = [*REVIEWS, *REVIEWS[::-1], REVIEWS[0]]
    first, second = cached.classify(texts), cached.classify(texts)
    assert first == second
    assert [prediction.label for prediction in first] == [
        prediction.label for prediction in uncached.classify(texts)
    ]
    assert (len(cached.cache), len(uncached.cache)) == (len(REVIEWS), 0)


def test_a_batch_may_be_larger_than_the_cache(serving: list[Path]) -> None:
    small = load(serving[0], cache_texts=3)
    first, second = small.classify(REVIEWS), small.classify(REVIEWS)
    assert [prediction.label for prediction in first] == [prediction.label for prediction in second]
    assert len(small.cache) == 3


def test_workers_divide_the_cores() -> None:
    settings = Settings().model_copy(update={"workers": 1, "threads": 0})
    assert engine_threads(settings) == 0, "OpenVINO chooses"
    assert engine_threads(settings.model_copy(update={"workers": 1000})) == 1
    assert engine_threads(settings.model_copy(update={"workers": 1000, "threads": 3})) == 3
