import httpx
import pytest

from benchmarks.outages import Answer, Clients, again


def answers(*outcomes: str) -> list[Answer]:
    """One a second, the first a second after second 10."""
    return [Answer(11.0 + number, outcome) for number, outcome in enumerate(outcomes)]


@pytest.mark.parametrize(
    ("outcomes", "seconds"),
    [
        (("200", "201"), 0),
        (("503", "200"), 2),
        (("200", "ConnectError", "200", "503", "201", "200"), 5),
    ],
)
def test_an_outage_lasts_until_the_answer_after_the_last_failure(
    outcomes: tuple[str, ...], seconds: float
) -> None:
    assert again(answers(*outcomes), began=10.0) == seconds


async def test_what_is_stored_is_read_page_by_page() -> None:
    pages = {None: (["1", "2"], "next"), "next": (["3"], None)}

    def answer(request: httpx.Request) -> httpx.Response:
        ids, cursor = pages[request.url.params.get("cursor")]
        return httpx.Response(200, json={"items": [{"id": name} for name in ids], "next_cursor": cursor})

    async with httpx.AsyncClient(base_url="http://api", transport=httpx.MockTransport(answer)) as api:
        assert list(await Clients(api, mlflow=api).stored()) == ["1", "2", "3"]
