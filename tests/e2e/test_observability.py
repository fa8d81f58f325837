"""Traces, logs and metrics of a request through all processes."""

import contextlib
import json
import re
import secrets
import shutil
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.queries import HOST_METRIC, metric_names, queries, rules
from tests.deploy.stack import Stack, wait_for
from tests.e2e.collector import Collector, Span, tree


def records(stack: Stack, service: str, request_id: str) -> list[dict[str, Any]]:
    """Return a service's log records of a request. Before the settings are read, lines are plain text."""
    log = (stack.var / "log" / f"{service}.log").read_text().splitlines()
    parsed = [json.loads(line) for line in log if line.startswith("{")]
    return [record for record in parsed if record.get("request_id") == request_id]


def test_a_request_is_one_trace_across_services(client: httpx.Client, collector: Collector) -> None:
    trace_id, parent_id = secrets.token_hex(16), secrets.token_hex(8)
    text = {"text": f"A warm film, seen by {trace_id}."}
    context = {"traceparent": f"00-{trace_id}-{parent_id}-01"}
    assert client.post("/api/analyze", json=text, headers=context).status_code == 200
    spans = collector.trace(trace_id, "POST /api/analyze", "POST /classify")
    print(tree(spans))
    (server,) = [span for span in spans if span.name == "POST /api/analyze"]
    (call,) = [span for span in spans if span.service == "api" and span.name == "POST"]
    (classify,) = [span for span in spans if span.service == "Sentiment"]
    assert server.parent_id == parent_id
    assert call.parent_id == server.span_id
    assert classify.parent_id == call.span_id
    assert server.started <= call.started <= call.ended <= server.ended
    # The Bento's span may end after its caller has read the whole response.
    assert call.started <= classify.started <= call.ended


def test_database_statements_are_child_spans_of_the_request(
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


def test_each_batch_of_the_worker_is_a_trace(client: httpx.Client, collector: Collector) -> None:
    before = len(collector.spans)
    review = {"movie_id": "traced", "author": "Ada", "text": "Warm and brave.", "rating": 9}
    created = client.post("/api/reviews", json=review)
    wait_for(lambda: client.get(created.headers["Location"]).json()["sentiment"] is not None)
    assert client.delete(f"/api/reviews/{created.json()['id']}").status_code == 204

    def batches() -> list[Span]:
        return [span for span in collector.spans[before:] if span.name == "analyze reviews"]

    wait_for(lambda: bool(batches()))
    batch = batches()[-1]
    assert batch.parent_id == ""
    spans = collector.trace(batch.trace_id, "POST /classify")
    assert {"POST", "UPDATE"} <= {span.name for span in spans if span.parent_id == batch.span_id}


def test_probes_and_metrics_are_not_traced(stack: Stack, client: httpx.Client, collector: Collector) -> None:
    before = len(collector.spans)  # other tests requested unknown paths, which are traced as GET
    for path in ("/livez", "/readyz", "/metrics"):
        assert client.get(path).status_code == 200
    trace_id = secrets.token_hex(16)
    client.get("/api/movies", headers={"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"})
    collector.trace(trace_id, "GET /api/movies")  # spans of earlier requests have been sent by then
    names = {span.name for span in collector.spans}
    assert not any(re.search("livez|readyz|healthz|metrics", name) for name in names), names
    # If traced, their statements and requests to the Bento would be root spans.
    roots = {span.name for span in collector.spans[before:] if not span.parent_id}
    assert not roots & {"GET", "SELECT", "UPDATE"}


def test_log_records_of_a_request_share_its_ids(
    stack: Stack, client: httpx.Client, collector: Collector
) -> None:
    request_id, trace_id = f"e2e-{secrets.token_hex(4)}", secrets.token_hex(16)
    headers = {"X-Request-ID": request_id, "traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    answer = client.post("/api/analyze", json={"text": f"Dull, says {request_id}."}, headers=headers)
    assert answer.headers["X-Request-ID"] == request_id
    # A record is written after the response has been sent.
    wait_for(lambda: all(records(stack, name, request_id) for name in ("api", "bento")))
    (api_record,), (bento_record,) = records(stack, "api", request_id), records(stack, "bento", request_id)
    assert (api_record["service"], api_record["path"], api_record["status"]) == ("api", "/api/analyze", 200)
    assert (bento_record["service"], bento_record["logger"]) == ("bento", "bentoml.access")
    for record in (api_record, bento_record):
        assert record["trace_id"] == trace_id
        assert record["model_version"] == answer.json()["model_version"] == "1"


@pytest.mark.skipif(not shutil.which("prometheus"), reason="needs prometheus: apt-get install prometheus")
def test_prometheus_scrapes_all_targets_and_evaluates_every_rule(stack: Stack, client: httpx.Client) -> None:
    url = f"http://127.0.0.1:{stack.setting('PROMETHEUS_PORT')}/api/v1"

    def query(path: str) -> Any:
        with contextlib.suppress(httpx.TransportError):
            response = httpx.get(f"{url}{path}", trust_env=False, timeout=30)
            return response.json()["data"] if response.is_success else None

    def up() -> dict[str, str]:
        found = query("/query?query=up") or {"result": []}
        values = {one["metric"]["job"]: one["value"][1] for one in found["result"]}
        return {job: value for job, value in values.items() if job != "host"}  # not part of the stack

    def rules() -> list[dict[str, Any]]:
        return [rule for group in query("/rules")["groups"] for rule in group["rules"]]

    def pages() -> list[dict[str, Any]]:
        return [rule for rule in rules() if rule.get("labels", {}).get("severity") == "page"]

    def failed() -> list[Any]:
        found = query("/query?query=api:failed:ratio_rate5m") or {"result": []}
        return [one["value"][1] for one in found["result"]]

    with stack.begin("observe") as prometheus:
        try:
            wait_for(lambda: up() == {"api": "1", "worker": "1", "bento": "1"})
            # A rate needs at least two samples.
            wait_for(lambda: client.get("/api/movies").is_success and failed() == ["0"])
            # The health of a rule group is unknown until its first evaluation.
            wait_for(lambda: all(rule["health"] != "unknown" for rule in rules()))
            assert {rule["health"] for rule in rules()} == {"ok"}, rules()
            # Before the first scrape of the Bento, its absence is a firing condition.
            wait_for(lambda: {page["state"] for page in pages()} == {"inactive"})
        finally:
            prometheus.terminate()


def exposed(url: str) -> set[str]:
    """Return the names of the series at a /metrics URL."""
    text = httpx.get(url, trust_env=False, timeout=30).text
    return {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}


def test_every_queried_metric_is_exposed(stack: Stack, client: httpx.Client) -> None:
    assert client.post("/api/analyze", json={"text": "A last word."}).status_code == 200
    review = client.post("/api/reviews", json={"movie_id": "counted", "author": "Ada", "text": "Fine."})
    wait_for(lambda: client.get(review.headers["Location"]).json()["sentiment"] is not None)
    assert client.delete(f"/api/reviews/{review.json()['id']}").status_code == 204
    urls = {
        "api": stack.url("API_PORT", "/metrics"),
        "bento": stack.url("BENTO_PORT", "/metrics"),
        "worker": f"http://127.0.0.1:{stack.setting('WORKER_METRICS_PORT')}/metrics",
    }
    # The Bento reads the promotion history with its first request to MLflow.
    wait_for(lambda: "sentiment_promotions" in exposed(urls["bento"]))
    names = {name: exposed(url) for name, url in urls.items()}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    queried = set().union(*map(metric_names, queries())) - recorded - {"up"}
    queried = {name for name in queried if not HOST_METRIC.match(name)}  # tests/deploy/test_prometheus.py
    assert queried - set().union(*names.values()) <= NOT_YET
    for service, promised in PROMISED.items():
        assert promised <= names[service], service


NOT_YET = {
    # Absent until the first rejection or failure. tests/api/test_metrics.py and tests/bentos cover them.
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
        "sentiment_known_share_bucket",
        *("sentiment_promotion_last_seconds", "bentoml_service_request_duration_seconds_bucket"),
    },
}
