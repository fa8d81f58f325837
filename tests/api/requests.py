"""What the tests send and expect, in one place."""

from typing import Any

import httpx

MOVIE = "tt0453418"
REVIEW = {"movie_id": MOVIE, "author": "Ada", "text": "Warm and funny.", "rating": 9}
UPDATE = {"author": "Ada", "text": "Warm, but slow.", "rating": 6}


async def create(client: httpx.AsyncClient, **changed: Any) -> dict[str, Any]:
    response = await client.post("/api/reviews", json={**REVIEW, **changed})
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The body of an answer that must be a whole RFC 9457 problem of this status."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"]
    assert body["detail"]
    return body


def faults(response: httpx.Response, status: int = 422) -> dict[str, str]:
    """The refused fields: {"body.rating": why}."""
    return {f"{one['in']}.{one['field']}": one["detail"] for one in problem(response, status)["errors"]}
