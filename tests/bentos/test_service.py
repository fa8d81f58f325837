"""The HTTP contract of a running Bento, whose champion is version 2."""

import random
import re
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
from tests.bentos.conftest import Server
from tests.bentos.reviews import MAX_TOKENS, REVIEWS, WINDOWS

Answer = dict[str, Any]

TEXTS = [f"{first} {second}" for first in REVIEWS for second in REVIEWS[:9]][:100]


@pytest.fixture(scope="module")
def expected(serving: list[Path]) -> dict[str, Answer]:
    """The expected answer to each text, from the champion's engine and tokenizer without a server."""
    engine = Engine(serving[1])
    tokenizer = Tokenizer.from_file(str(serving[1] / "tokenizer.json"))
    probabilities = engine.probabilities(TEXTS + REVIEWS)
    return {
        text: {
            "label": engine.labels[row.argmax()],
            "score": pytest.approx(float(row.max()), abs=1e-5),
            "model_version": "2",
            "truncated": len(tokenizer.encode(text).ids) > WINDOWS * MAX_TOKENS,
            "known_share": 1.0,
        }
        for text, row in zip(TEXTS + REVIEWS, probabilities, strict=True)
    }


def assert_answers(answers: object, texts: list[str], expected: dict[str, Answer]) -> None:
    assert answers == [expected[text] for text in texts]


def test_one_answer_per_text_in_order(server: Server, expected: dict[str, Answer]) -> None:
    shuffled = random.Random(3).sample(REVIEWS, len(REVIEWS))
    for texts in (REVIEWS, shuffled, REVIEWS[:1]):
        answers = server.classify(texts).json()
        assert_answers(answers, texts, expected)
    assert {expected[text]["label"] for text in REVIEWS} == {"negative", "positive"}, (
        "both labels must occur to reveal a wrong order"
    )


def test_invalid_texts_do_not_affect_the_others(server: Server, expected: dict[str, Answer]) -> None:
    texts = [REVIEWS[0], "", REVIEWS[1], " \n\t", "x" * 20_001, REVIEWS[2]]
    response = server.classify(texts)
    assert response.status_code == 200
    answers = response.json()
    assert_answers([answers[0], answers[2], answers[5]], REVIEWS[:3], expected)
    assert answers[1] == answers[3] == {"error": "the text is empty"}
    assert answers[4] == {"error": "the text has 20001 characters, 20000 are allowed"}


def test_only_invalid_texts(server: Server) -> None:
    assert server.classify(["", " "]).json() == [{"error": "the text is empty"}] * 2


def test_the_longest_text_and_unusual_characters_get_labels(server: Server) -> None:
    answers = server.classify(["good " * 4_000, "a\0b", "😀", "\u202e!"]).json()
    assert [answer["truncated"] for answer in answers] == [True, False, False, False]


def test_a_text_of_which_the_model_knows_little_is_said_to_be_so(server: Server) -> None:
    def little_known() -> float:
        (line,) = re.findall(
            r'^sentiment_known_share_bucket{le="0.5".*?} (.*)$', server.client.get("/metrics").text, re.M
        )
        return float(line)

    before = little_known()
    texts = [REVIEWS[0], f"{REVIEWS[0]} zebra", "q" * 20_000, "这部电影"]
    shares = [answer["known_share"] for answer in server.classify(texts).json()]
    assert shares[0] == 1
    assert 0.5 < shares[1] < 1
    assert shares[2:] == [0, 0]
    server.classify(texts[2:])  # from the cache
    assert little_known() == before + 4


def test_concurrent_requests_get_their_own_answers(server: Server, expected: dict[str, Answer]) -> None:
    """100 requests of one to three texts; every tenth also contains an invalid text."""
    requests = [TEXTS[start : start + 1 + start % 3] for start in range(100)]

    def ask(number: int) -> httpx.Response:
        return server.classify([*requests[number], ""] if number % 10 == 0 else requests[number])

    # Requests that arrive while these texts are processed form one batch.
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
    """Return the number of batches with at most N requests, by N, from BentoML's histogram."""
    counts = {}
    for line in server.client.get("/metrics").text.splitlines():
        if line.startswith("bentoml_service_adaptive_batch_size_bucket"):
            counts[line.partition('le="')[2].partition('"')[0]] = float(line.rpartition(" ")[2])
    return counts


def test_a_request_is_split_between_batches(server: Server, expected: dict[str, Answer]) -> None:
    """Two full requests exceed the batch size: BentoML splits one and joins its answers."""
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
def test_an_invalid_request_is_400_with_the_reason(server: Server, body: str, says: str) -> None:
    headers = {"content-type": "application/json"}
    response = server.client.post("/classify", content=body, headers=headers)
    assert response.status_code == 400
    assert says in response.text


def test_a_single_request_after_a_burst_is_not_delayed(server: Server) -> None:
    """BentoML's own dispatcher delays it as long as the requests of the burst waited."""
    end = time.monotonic() + 6  # its optimizer runs every 5 s

    def keep_sending(_: int) -> list[float]:
        times = []
        while time.monotonic() < end:
            times.append(server.classify(TEXTS[:64]).elapsed.total_seconds())
        return times

    with ThreadPoolExecutor(32) as pool:
        burst = statistics.median(chain.from_iterable(pool.map(keep_sending, range(32))))
    single = statistics.median(server.classify(["good"]).elapsed.total_seconds() for _ in range(10))
    assert single < burst / 3


def test_health_schema_and_the_page_that_shows_it(server: Server) -> None:
    known = ("/livez", "/readyz", "/metrics", "/schema.json", "/docs.json", "/", "/static_content/index.css")
    for path in known:
        assert server.client.get(path).status_code == 200, path


def test_unknown_paths_are_404_and_leave_no_metrics(server: Server) -> None:
    """BentoML's metrics have the path that a client sent as a label."""
    unknown = [
        f"{folder}unknown-{number}"
        for folder in ("/", "/classify/", "/livez/", "/static_content/")
        for number in range(5)
    ]
    for path in unknown:
        response = server.client.get(path)
        assert (response.status_code, response.json()) == (404, {"error": "no such path: see /"})
    url = server.client.base_url
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    websocket = httpx.get(
        f"{url}/unknown-6", headers=upgrade | {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    )
    assert websocket.status_code in (403, 404)
    assert "unknown-" not in server.client.get("/metrics").text
