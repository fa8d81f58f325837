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
from benchmarks.serving.errors import BenchmarkError
from benchmarks.store import bare, database, table, throughput
from benchmarks.store.database import CREATE_KEY, run
from benchmarks.store.questions import HEADERS, KEY, QUESTIONS, get_to_know, page
from benchmarks.store.rows import COLUMNS, Row, Source
from tests.postgres import plain

ROWS = 2500


def rows(count: int = ROWS) -> list[Row]:
    return list(chain.from_iterable(Source(count).chunks()))


def test_rows_come_in_order_and_are_always_the_same() -> None:
    assert len(rows()) == ROWS
    assert rows() == rows()
    columns: dict[str, tuple[Any, ...]] = dict(zip(COLUMNS, zip(*rows(), strict=True), strict=True))
    assert list(columns["created_at"]) == sorted(set(columns["created_at"]))
    milliseconds = [id.int >> 80 for id in columns["id"]]
    assert milliseconds == sorted(milliseconds)
    assert {id.version for id in columns["id"]} == {7}
    assert len(set(columns["id"])) == ROWS
    assert set(columns["sentiment_label"]) == {"positive", "negative", None}


def test_the_second_movie_has_half_the_reviews_of_the_first() -> None:
    movies = Counter(row[COLUMNS.index("movie_id")] for row in rows(20_000))
    assert movies["tt0000000"] / movies["tt0000001"] == pytest.approx(2, rel=0.2)


async def test_both_servers_answer_the_same_bytes(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the schema takes the rows, and every question that is asked of a store has a good answer."""
    monkeypatch.setenv("DATABASE_URL", plain(database_url))
    monkeypatch.setenv("POOL_SIZE", "1")
    run(database_url, *CREATE_KEY, given=KEY)
    connection = await asyncpg.connect(plain(database_url))
    await connection.execute("TRUNCATE review")
    await connection.copy_records_to_table("review", records=rows(), columns=COLUMNS)
    ours, theirs = create_app(Settings(_env_file=None, database_url=database_url)), bare.create_app()
    try:
        known = await get_to_know(plain(database_url))
        async with (
            ours.router.lifespan_context(ours),
            theirs.router.lifespan_context(theirs),
            httpx.AsyncClient(transport=httpx.ASGITransport(ours), base_url="http://ours.test") as api,
            httpx.AsyncClient(transport=httpx.ASGITransport(theirs), base_url="http://theirs.test") as peer,
        ):
            for movie in (known.popular[0], known.popular[-1], "nothing"):
                assert (await api.get(page(movie))).content == (await peer.get(page(movie))).content
            for question in QUESTIONS.values():
                method, path, body = question(known)
                assert (await api.request(method, path, json=body, headers=HEADERS)).is_success
    finally:
        await connection.execute("TRUNCATE review")
        await connection.close()


def test_wrk_is_read() -> None:
    report = "  2 threads\nRequests/sec:   1234.56\nTransfer/sec:      1.00MB\n"
    assert throughput.parse(report) == 1234.56
    for failure in (
        "  Non-2xx or 3xx responses: 3",
        "  Socket errors: connect 0, read 1, write 0, timeout 0",
    ):
        with pytest.raises(BenchmarkError, match="wrk saw failures"):
            throughput.parse(f"{failure}\n{report}")
    with pytest.raises(BenchmarkError, match="requests a second"):
        throughput.parse("")


def test_the_ratio_is_that_of_the_rounds() -> None:
    """The machine slows down to half in the second one."""
    slow, fast = {"ours": 60, "bare": 80, "ours_gzip": 30}, {"ours": 120, "bare": 160, "ours_gzip": 70}
    odd = {"ours": 200, "bare": 250, "ours_gzip": 90}
    found = table.throughput([slow, fast, odd])
    assert (found.ours, found.bare, found.ours_gzip) == (120, 160, 70)
    assert found.ratio == 0.75


def test_the_table() -> None:
    line = table.line("list", small=[0.002, 0.001, 0.003], large=[0.004, 0.002, 0.009])
    assert (line.small_p50, line.large_p50, line.p50_ratio, line.p99_ratio) == (2, 4, 2, 3)
    text = table.markdown([line], table.Throughput(120, 160, 0.75, 70), 10_000, 10_000_000, 16)
    assert "| list | 2.00 | 4.00 | 2.00 | 3.00 | 9.00 | 3.00 |" in text
    assert "10,000,000 rows" in text


def test_a_full_disk_says_what_is_needed(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(BenchmarkError, match=r"rows need .* GB, .* --folder"):
        database.check_disk(tmp_path, free // 1000)
