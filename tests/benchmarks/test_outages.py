import httpx
import pytest

from benchmarks.outages import Clients, Result, recovery_seconds


def every_second(*outcomes: str) -> list[Result]:
    """Return results from second 11 on."""
    return [Result(11.0 + number, outcome) for number, outcome in enumerate(outcomes)]


@pytest.mark.parametrize(
    ("outcomes", "seconds"),
    [
        (("200", "201"), 0),
        (("503", "200"), 2),
        (("200", "ConnectError", "200", "503", "201", "200"), 5),
    ],
)
def test_an_outage_ends_with_the_first_success_after_the_last_failure(
    outcomes: tuple[str, ...], seconds: float
) -> None:
    assert recovery_seconds(every_second(*outcomes), killed=10.0) == seconds


async def test_stored_reviews_are_read_page_by_page() -> None:
    pages = {None: (["1", "2"], "next"), "next": (["3"], None)}

    def respond(request: httpx.Request) -> httpx.Response:
        ids, cursor = pages[request.url.params.get("cursor")]
        return httpx.Response(200, json={"items": [{"id": name} for name in ids], "next_cursor": cursor})

    async with httpx.AsyncClient(base_url="http://api", transport=httpx.MockTransport(respond)) as api:
        assert list(await Clients(api, mlflow=api).stored()) == ["1", "2", "3"]
