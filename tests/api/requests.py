"""Requests that many tests send, and checks of their answers."""

from typing import Any

import httpx

from api.problem_types import TYPES

MOVIE = "tt0453418"
REVIEW = {"movie_id": MOVIE, "author": "Ada", "text": "Warm and funny.", "rating": 9}
UPDATE = {"author": "Ada", "text": "Warm, but slow.", "rating": 6}


async def create(client: httpx.AsyncClient, **changed: Any) -> dict[str, Any]:
    response = await client.post("/api/reviews", json={**REVIEW, **changed})
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Check that the response is an RFC 9457 problem with this status; return its body."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert TYPES[body["code"]].status == status
    assert body["type"] == f"/docs/problems#{body['code']}"
    assert body.get("request_id") == response.headers.get("X-Request-ID")
    assert body["title"]
    assert body["detail"]
    return body


def faults(response: httpx.Response, status: int = 422) -> dict[str, str]:
    """Return the invalid fields: {"body.rating": reason}."""
    assert all(one["code"] for one in problem(response, status)["errors"])
    return {f"{one['in']}.{one['field']}": one["detail"] for one in problem(response, status)["errors"]}
