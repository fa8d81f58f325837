import shutil
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from api.main import create_app
from api.settings import Settings
from benchmarks.command import BenchmarkError
from benchmarks.store import baseline, table, throughput
from benchmarks.store.database import CREATE_KEY, check_disk, run_module
from benchmarks.store.generated_reviews import COLUMNS, Row, generate
from benchmarks.store.queries import HEADERS, KEY, QUERIES, first_page, take_sample
from tests.postgres import plain

ROWS = 2500


def generated(count: int = ROWS) -> list[Row]:
    return list(chain.from_iterable(generate(count)))


def test_generated_reviews_are_in_order_and_reproducible() -> None:
    rows = generated()
    assert len(rows) == ROWS
    assert rows == generated()
    columns: dict[str, tuple[Any, ...]] = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))
    assert list(columns["created_at"]) == sorted(set(columns["created_at"]))
    milliseconds = [id.int >> 80 for id in columns["id"]]
    assert milliseconds == sorted(milliseconds)
    assert {id.version for id in columns["id"]} == {7}
    assert len(set(columns["id"])) == ROWS
    assert set(columns["sentiment_label"]) == {"positive", "negative", None}


def test_the_second_movie_has_half_the_reviews_of_the_first() -> None:
    movies = Counter(row[COLUMNS.index("movie_id")] for row in generated(20_000))
    assert movies["tt0000000"] / movies["tt0000001"] == pytest.approx(2, rel=0.2)


async def test_the_baseline_returns_the_same_bytes_as_the_api_and_every_query_succeeds(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", plain(database_url))
    monkeypatch.setenv("POOL_SIZE", "1")
    run_module(database_url, *CREATE_KEY, stdin=KEY)
    connection = await asyncpg.connect(plain(database_url))
    await connection.execute("TRUNCATE review")
    await connection.copy_records_to_table("review", records=generated(), columns=COLUMNS)
    api, minimal = create_app(Settings(_env_file=None, database_url=database_url)), baseline.create_app()
    try:
        sample = await take_sample(plain(database_url))
        async with (
            api.router.lifespan_context(api),
            minimal.router.lifespan_context(minimal),
            httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://api.test") as client,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(minimal), base_url="http://minimal.test"
            ) as other,
        ):
            for movie in (sample.popular[0], sample.popular[-1], "nothing"):
                page = first_page(movie)
                assert (await client.get(page)).content == (await other.get(page)).content
            for query in QUERIES.values():
                method, path, body = query(sample)
                assert (await client.request(method, path, json=body, headers=HEADERS)).is_success
    finally:
        await connection.execute("TRUNCATE review")
        await connection.close()


def test_the_report_of_wrk_is_parsed() -> None:
    report = "  2 threads\nRequests/sec:   1234.56\nTransfer/sec:      1.00MB\n"
    assert throughput.parse(report) == 1234.56
    for failure in (
        "  Non-2xx or 3xx responses: 3",
        "  Socket errors: connect 0, read 1, write 0, timeout 0",
    ):
        with pytest.raises(BenchmarkError, match="wrk reports failures"):
            throughput.parse(f"{failure}\n{report}")
    with pytest.raises(BenchmarkError, match="no requests per second"):
        throughput.parse("")


def test_the_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    """The first round is on a machine at half its speed."""
    rounds = [
        {"api": 60, "baseline": 80, "api_gzip": 30},
        {"api": 120, "baseline": 160, "api_gzip": 70},
        {"api": 200, "baseline": 250, "api_gzip": 90},
    ]
    assert table.median_throughput(rounds) == table.Throughput(120, 160, 0.75, 70)


def test_the_table_has_milliseconds_and_ratios() -> None:
    row = table.make_row("Page", small=[0.002, 0.001, 0.003], large=[0.004, 0.002, 0.009])
    assert (row.small_p50, row.large_p50, row.p50_ratio, row.p99_ratio) == (2, 4, 2, 3)
    text = table.markdown([row], table.Throughput(120, 160, 0.75, 70), 10_000, 10_000_000, 16)
    assert "| Page | 2.00 | 4.00 | 2.00 | 3.00 | 9.00 | 3.00 |" in text
    assert "p50 at 10,000,000" in text


def test_too_little_disk_space_is_an_error(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(BenchmarkError, match=r"rows need .* GB, .* --folder"):
        check_disk(tmp_path, free // 1000)
