"""One running Bento, asked over HTTP. Its champion is version 2."""

import random
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import pytest
from tokenizers import Tokenizer

from bentos.sentiment.engine import Engine
from tests.bentos.conftest import Registry, Server, serve
from tests.bentos.model import MAX_TOKENS, REVIEWS, WINDOWS

Answer = dict[str, Any]

TEXTS = [f"{first} {second}" for first in REVIEWS for second in REVIEWS[:9]][:100]


@pytest.fixture(scope="module")
def expected(serving: list[Path]) -> dict[str, Answer]:
    """What every text is to be answered, by the champion's engine and tokenizer without a server."""
    engine = Engine(serving[1])
    tokenizer = Tokenizer.from_file(str(serving[1] / "tokenizer.json"))
    probabilities = engine.probabilities(TEXTS + REVIEWS)
    return {
        text: {
            "label": engine.labels[row.argmax()],
            "score": pytest.approx(float(row.max()), abs=1e-5),
            "model_version": "2",
            "truncated": len(tokenizer.encode(text).ids) > WINDOWS * MAX_TOKENS,
        }
        for text, row in zip(TEXTS + REVIEWS, probabilities, strict=True)
    }


def assert_answers(answers: object, texts: list[str], expected: dict[str, Answer]) -> None:
    assert answers == [expected[text] for text in texts]


def test_one_answer_a_text_in_order(server: Server, expected: dict[str, Answer]) -> None:
    shuffled = random.Random(3).sample(REVIEWS, len(REVIEWS))
    for texts in (REVIEWS, shuffled, REVIEWS[:1]):
        answers = server.classify(texts).json()
        assert_answers(answers, texts, expected)
    assert {expected[text]["label"] for text in REVIEWS} == {"negative", "positive"}, (
        "one label would prove nothing"
    )


def test_bad_texts_leave_their_neighbours_alone(server: Server, expected: dict[str, Answer]) -> None:
    texts = [REVIEWS[0], "", REVIEWS[1], " \n\t", "x" * 20_001, REVIEWS[2]]
    response = server.classify(texts)
    assert response.status_code == 200
    answers = response.json()
    assert_answers([answers[0], answers[2], answers[5]], REVIEWS[:3], expected)
    assert answers[1] == answers[3] == {"error": "the text is empty"}
    assert answers[4] == {"error": "the text has 20001 characters, 20000 are allowed"}


def test_only_bad_texts(server: Server) -> None:
    assert server.classify(["", " "]).json() == [{"error": "the text is empty"}] * 2


def test_the_longest_text_and_odd_characters_get_labels(server: Server) -> None:
    answers = server.classify(["good " * 4_000, "a\0b", "😀", "\u202e!"]).json()
    assert [answer["truncated"] for answer in answers] == [True, False, False, False]


def test_concurrent_requests_get_their_own_answers(server: Server, expected: dict[str, Answer]) -> None:
    """100 at once, each of one to three texts and every tenth with a bad one among them."""
    requests = [TEXTS[start : start + 1 + start % 3] for start in range(100)]

    def ask(number: int) -> httpx.Response:
        return server.classify([*requests[number], ""] if number % 10 == 0 else requests[number])

    # What comes while these are being read has to wait, and goes on together.
    long = [f"{number} " + "good " * 3_900 for number in range(64)]
    with ThreadPoolExecutor(101) as pool:
        busy = pool.submit(server.classify, long)
        responses = list(pool.map(ask, range(100)))
        assert busy.result().status_code == 200
    assert {response.status_code for response in responses} == {200}
    for number, response in enumerate(responses):
        answers = response.json()
        if number % 10 == 0:
            assert answers.pop() == {"error": "the text is empty"}
        assert_answers(answers, requests[number], expected)
    counts = batches(server)
    assert counts["+Inf"] > counts["1.0"], "requests must share batches"


def batches(server: Server) -> dict[str, float]:
    """Bento's own histogram: how many batches were of at most so many requests."""
    counts = {}
    for line in server.client.get("/metrics").text.splitlines():
        if line.startswith("bentoml_service_adaptive_batch_size_bucket"):
            counts[line.partition('le="')[2].partition('"')[0]] = float(line.rpartition(" ")[2])
    return counts


def test_a_request_of_several_batches(server: Server, expected: dict[str, Answer]) -> None:
    """Two full requests at once pass the batch size together: Bento cuts one and joins its answers."""
    requests = [TEXTS[:64], TEXTS[36:100], TEXTS[20:84]]
    with ThreadPoolExecutor(3) as pool:
        responses = list(pool.map(server.classify, requests))
    for texts, response in zip(requests, responses, strict=True):
        assert_answers(response.json(), texts, expected)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"texts": [' + ",".join(['"good"'] * 65) + "]}", "at most 64 items"),
        ('{"texts": []}', "at least 1 item"),
        ('{"texts": ["good", 1]}', "valid string"),
        ('{"texts": "good"}', "valid array"),
        ("{}", "Field required"),
        ("nonsense", "Invalid JSON"),
        ('{"texts": ["half a character \\ud800"]}', "Invalid JSON"),
    ],
)
def test_a_wrong_request_is_400_and_says_why(server: Server, body: str, says: str) -> None:
    headers = {"content-type": "application/json"}
    response = server.client.post("/classify", content=body, headers=headers)
    assert response.status_code == 400
    assert says in response.text


def test_a_lone_request_is_not_held_back_after_a_burst(server: Server) -> None:
    """BentoML's own optimizer, once it has seen a queue, holds a lone request as long as that queue did."""
    end = time.monotonic() + 6  # it learns every 5 s

    def keep_asking(_: int) -> list[float]:
        times = []
        while time.monotonic() < end:
            times.append(server.classify(TEXTS[:64]).elapsed.total_seconds())
        return times

    with ThreadPoolExecutor(32) as pool:
        burst = statistics.median(chain.from_iterable(pool.map(keep_asking, range(32))))
    lone = statistics.median(server.classify(["good"]).elapsed.total_seconds() for _ in range(10))
    assert lone < burst / 3


def test_health_and_schema(server: Server) -> None:
    for path in ("/livez", "/readyz", "/metrics", "/schema.json", "/docs.json"):
        assert server.client.get(path).status_code == 200, path


def test_ready_means_warm(shared: Registry) -> None:
    """One text has gone the whole way before /readyz; 20 at once after it are not turned away nor slow."""
    with serve(shared) as fresh, ThreadPoolExecutor(20) as pool:
        assert batches(fresh)["+Inf"] == 1
        responses = list(pool.map(lambda text: fresh.classify([text]), TEXTS[:20]))
        assert [response.status_code for response in responses] == [200] * 20
        assert max(response.elapsed.total_seconds() for response in responses) < 2


def test_overload_is_turned_away_and_the_settings_reach_the_service(shared: Registry) -> None:
    """One request at a time, two texts a request: the rest is 429 or 400; what is admitted is answered."""
    limits = {"SENTIMENT_MAX_CONCURRENCY": "1", "SENTIMENT_MAX_TEXTS": "2", "SENTIMENT_MAX_TEXT_CHARS": "10"}
    with serve(shared, **limits) as small, ThreadPoolExecutor(30) as pool:
        responses = list(pool.map(lambda _: small.classify(["good", "bad"]), range(60)))
        assert small.classify(["good"] * 3).status_code == 400
        assert "10 are allowed" in small.classify(["much too long"]).text
    assert {response.status_code for response in responses} == {200, 429}
    assert all(len(response.json()) == 2 for response in responses if response.status_code == 200)
