"""One request, seen in the traces, the logs and the metrics of the processes that it went through."""

import contextlib
import json
import re
import secrets
import shutil
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.queries import queries, rules, series
from tests.deploy.stack import Stack, wait_for
from tests.e2e.collector import Collector, Span, tree


def lines(stack: Stack, service: str, request_id: str) -> list[dict[str, Any]]:
    """What a service has written about a request. Before it has read its settings it may write text."""
    written = (stack.var / "log" / f"{service}.log").read_text().splitlines()
    said = [json.loads(line) for line in written if line.startswith("{")]
    return [line for line in said if line.get("request_id") == request_id]


def test_one_request_is_one_trace(client: httpx.Client, collector: Collector) -> None:
    trace_id, parent_id = secrets.token_hex(16), secrets.token_hex(8)
    text = {"text": f"A warm film, seen by {trace_id}."}
    context = {"traceparent": f"00-{trace_id}-{parent_id}-01"}
    assert client.post("/api/analyze", json=text, headers=context).status_code == 200
    spans = collector.trace(trace_id, "POST /api/analyze", "POST /classify")
    print(tree(spans))
    (server,) = [span for span in spans if span.name == "POST /api/analyze"]
    (call,) = [span for span in spans if span.service == "api" and span.name == "POST"]
    (answer,) = [span for span in spans if span.service == "Sentiment"]
    assert server.parent_id == parent_id
    assert call.parent_id == server.span_id
    assert answer.parent_id == call.span_id
    assert server.began <= call.began <= call.ended <= server.ended
    # Where the answer's span ends is not told: its caller may have read all of it before.
    assert call.began <= answer.began <= call.ended


def test_a_request_to_the_database_is_below_the_one_that_asked(
    client: httpx.Client, collector: Collector
) -> None:
    trace_id = secrets.token_hex(16)
    context = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    review = {"movie_id": "traced", "author": "Ada", "text": "Warm and brave.", "rating": 9}
    created = client.post("/api/reviews", json=review, headers=context)
    assert client.delete(f"/api/reviews/{created.json()['id']}").status_code == 204
    spans = collector.trace(trace_id, "POST /api/reviews")
    (server,) = [span for span in spans if span.name == "POST /api/reviews"]
    print(tree(spans))
    statements = [span for span in spans if span.parent_id == server.span_id]
    assert [one.name for one in statements][-3:] == ["BEGIN", "INSERT", "COMMIT;"]


def test_the_worker_begins_a_trace_with_each_batch(client: httpx.Client, collector: Collector) -> None:
    before = len(collector.spans)
    review = {"movie_id": "traced", "author": "Ada", "text": "Warm and brave.", "rating": 9}
    created = client.post("/api/reviews", json=review)
    wait_for(lambda: client.get(created.headers["Location"]).json()["sentiment"] is not None, seconds=20)
    assert client.delete(f"/api/reviews/{created.json()['id']}").status_code == 204

    def batches() -> list[Span]:
        return [span for span in collector.spans[before:] if span.name == "analyze reviews"]

    wait_for(lambda: bool(batches()), seconds=30)
    batch = batches()[-1]
    assert batch.parent_id == ""
    spans = collector.trace(batch.trace_id, "POST /classify")
    assert {"POST", "UPDATE"} <= {span.name for span in spans if span.parent_id == batch.span_id}


def test_what_is_asked_all_the_time_is_not_traced(
    stack: Stack, client: httpx.Client, collector: Collector
) -> None:
    before = len(collector.spans)  # other tests have asked for what is nowhere, which is traced as GET
    for path in ("/livez", "/readyz", "/metrics"):
        assert client.get(path).status_code == 200
    trace_id = secrets.token_hex(16)
    client.get("/api/movies", headers={"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"})
    collector.trace(trace_id, "GET /api/movies")  # whatever came before it has been sent as well
    names = {span.name for span in collector.spans}
    assert not any(re.search("livez|readyz|healthz|metrics", name) for name in names), names
    # The statements and the question to the Bento behind them would begin traces of their own.
    beginnings = {span.name for span in collector.spans[before:] if not span.parent_id}
    assert not beginnings & {"GET", "SELECT", "UPDATE"}


def test_the_lines_of_one_request_share_its_ids(
    stack: Stack, client: httpx.Client, collector: Collector
) -> None:
    request_id, trace_id = f"e2e-{secrets.token_hex(4)}", secrets.token_hex(16)
    headers = {"X-Request-ID": request_id, "traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    answer = client.post("/api/analyze", json={"text": f"Dull, says {request_id}."}, headers=headers)
    assert answer.headers["X-Request-ID"] == request_id
    # A line is written once the answer is out.
    wait_for(lambda: all(lines(stack, name, request_id) for name in ("api", "bento")), seconds=10)
    (of_api,), (of_bento,) = lines(stack, "api", request_id), lines(stack, "bento", request_id)
    assert (of_api["service"], of_api["path"], of_api["status"]) == ("api", "/api/analyze", 200)
    assert (of_bento["service"], of_bento["logger"]) == ("bento", "bentoml.access")
    for line in (of_api, of_bento):
        assert line["trace_id"] == trace_id
        assert line["model_version"] == answer.json()["model_version"] == "1"


def port(stack: Stack, name: str) -> str:
    """A port that is none of those the stack has always."""
    found: str = re.findall(rf"^{name}=(\d+)$", (stack.root / ".env").read_text(), re.MULTILINE)[-1]
    return found


@pytest.mark.skipif(not shutil.which("prometheus"), reason="needs prometheus: apt-get install prometheus")
def test_prometheus_sees_all_three_and_can_work_out_every_rule(stack: Stack, client: httpx.Client) -> None:
    url = f"http://127.0.0.1:{port(stack, 'PROMETHEUS_PORT')}/api/v1"

    def ask(path: str) -> Any:
        with contextlib.suppress(httpx.TransportError):
            answer = httpx.get(f"{url}{path}", trust_env=False, timeout=30)
            return answer.json()["data"] if answer.is_success else None

    def up() -> dict[str, str]:
        found = ask("/query?query=up") or {"result": []}
        return {one["metric"]["job"]: one["value"][1] for one in found["result"]}

    def rules() -> list[dict[str, Any]]:
        return [rule for group in ask("/rules")["groups"] for rule in group["rules"]]

    def pages() -> list[dict[str, Any]]:
        return [rule for rule in rules() if rule.get("labels", {}).get("severity") == "page"]

    def failed() -> list[Any]:
        found = ask("/query?query=api:failed:ratio_rate5m") or {"result": []}
        return [one["value"][1] for one in found["result"]]

    with stack.begin("observe") as watching:
        try:
            wait_for(lambda: up() == {"api": "1", "worker": "1", "bento": "1"}, seconds=60)
            # Two answers at least are needed for a rate.
            wait_for(lambda: client.get("/api/movies").is_success and failed() == ["0"], seconds=60)
            # Each group of rules has its own moment in the interval; until then its health is unknown.
            wait_for(lambda: all(rule["health"] != "unknown" for rule in rules()), seconds=30)
            assert {rule["health"] for rule in rules()} == {"ok"}, rules()
            # Before its first look at the Bento, Prometheus has to take it for gone.
            wait_for(lambda: {page["state"] for page in pages()} == {"inactive"}, seconds=30)
        finally:
            watching.terminate()


def exposed(url: str) -> set[str]:
    """Names of the series that are at /metrics."""
    text = httpx.get(url, trust_env=False, timeout=30).text
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def test_what_rules_and_dashboard_ask_for_is_there(stack: Stack, client: httpx.Client) -> None:
    assert client.post("/api/analyze", json={"text": "A last word."}).status_code == 200
    review = client.post("/api/reviews", json={"movie_id": "counted", "author": "Ada", "text": "Fine."})
    wait_for(lambda: client.get(review.headers["Location"]).json()["sentiment"] is not None, seconds=20)
    assert client.delete(f"/api/reviews/{review.json()['id']}").status_code == 204
    urls = {
        "api": stack.url("API_PORT", "/metrics"),
        "bento": stack.url("BENTO_PORT", "/metrics"),
        "worker": f"http://127.0.0.1:{port(stack, 'WORKER_METRICS_PORT')}/metrics",
    }
    # The champion's promotion is in the history, which the Bento reads when it first asks MLflow.
    wait_for(lambda: "sentiment_promotions" in exposed(urls["bento"]), seconds=30)
    there = {name: exposed(url) for name, url in urls.items()}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    wanted = set().union(*map(series, queries())) - recorded - {"up"}
    assert wanted - set().union(*there.values()) <= NOT_YET
    for name, of_each in PROMISED.items():
        assert of_each <= there[name], name


NOT_YET = {
    # Nothing may have been refused, or failed. tests/api/test_metrics.py and tests/bentos see to them.
    *("api_limit_refusals_total", "database_refusals_total"),
    *("sentiment_model_refusals_total", "sentiment_requests_refused_total"),
}
PROMISED = {
    "api": {
        *("api_request_duration_seconds_bucket", "api_requests_in_progress"),
        *("database_pool_size", "database_pool_checked_out", "database_pool_waiting", "database_up"),
        *("bento_request_duration_seconds_bucket", "bento_breaker_open", "bento_texts_waiting"),
        *("sentiments_pending", "sentiments_oldest_pending_seconds"),
    },
    "worker": {"worker_reviews_stored_total", "bento_request_duration_seconds_bucket", "bento_breaker_open"},
    "bento": {
        *("sentiment_batch_texts_bucket", "sentiment_model_workers", "sentiment_model_swaps_total"),
        *("sentiment_cache_hits_total", "sentiment_cache_misses_total", "sentiment_texts_waiting"),
        *("sentiment_requests_inside", "sentiment_registry_reachable", "sentiment_promotions"),
        *("sentiment_promotion_last_seconds", "bentoml_service_request_duration_seconds_bucket"),
    },
}
