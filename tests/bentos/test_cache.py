from pathlib import Path

from bentos.sentiment.cache import Cache
from bentos.sentiment.served import Served, threads
from bentos.sentiment.settings import Settings
from bentos.sentiment.store import LocalModel
from tests.bentos.model import REVIEWS


def test_the_least_recently_asked_goes_first() -> None:
    cache = Cache[int](2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)
    assert len(cache) == 2


def test_size_0_keeps_nothing() -> None:
    cache = Cache[int](0)
    cache.put("a", 1)
    assert cache.get("a") is None
    assert len(cache) == 0


def test_a_text_is_known_by_every_character() -> None:
    cache = Cache[int](10)
    for number, text in enumerate(["", "a", "a ", "A", "é", "e\u0301", "\ud800"]):
        assert cache.get(text) is None
        cache.put(text, number)
    assert cache.get("A") == 3


def served(folder: Path, **settings: int) -> Served:
    model = LocalModel("sentiment:1-x", "1", folder)
    return Served.load(model, Settings().model_copy(update=settings))


def test_kept_answers_are_those_of_the_engine(serving: list[Path]) -> None:
    keeping, forgetting = served(serving[0]), served(serving[0], cache_texts=0)
    texts = [*REVIEWS, *REVIEWS[::-1], REVIEWS[0]]
    first, second = keeping.classify(texts), keeping.classify(texts)
    assert first == second
    assert [verdict.label for verdict in first] == [verdict.label for verdict in forgetting.classify(texts)]
    assert (len(keeping.cache), len(forgetting.cache)) == (len(REVIEWS), 0)


def test_a_full_cache_answers_a_batch_that_is_larger(serving: list[Path]) -> None:
    small = served(serving[0], cache_texts=3)
    first, second = small.classify(REVIEWS), small.classify(REVIEWS)
    assert [verdict.label for verdict in first] == [verdict.label for verdict in second]
    assert len(small.cache) == 3


def test_workers_share_the_cores() -> None:
    settings = Settings().model_copy(update={"workers": 1, "threads": 0})
    assert threads(settings) == 0, "OpenVINO's own choice"
    assert threads(settings.model_copy(update={"workers": 1000})) == 1
    assert threads(settings.model_copy(update={"workers": 1000, "threads": 3})) == 3
