"""Words that a database or a path might choke on, against both databases."""

import base64

import pytest

pytestmark = pytest.mark.services

STRANGE = ["%00", "a%00b", "..%2f..%2fetc%2fpasswd", "x" * 3000, "%ff%fe", "%E2%80%AE", "%ED%A0%80"]
CURSORS = ["%00", "a", '[1, "\\u0000"]', '[1, "\\ud800"]', "[NaN, null]", "[1e999, 1]", "{}", "[[]]"]


def test_strange_ids_are_not_found(gateway, keys):
    for value in STRANGE:
        for path in ("/jobs", "/image-sets", "/models", "/reports"):
            response = gateway.get(f"{path}/{value}", headers=keys["alice"])
            assert response.status_code in (404, 422), (path, response.text)
            assert response.headers["content-type"] == "application/problem+json"


def test_strange_cursors_are_refused(gateway, keys):
    for cursor in CURSORS:
        encoded = base64.urlsafe_b64encode(cursor.encode()).decode() if cursor[0] in "[{" else cursor
        for path in ("/jobs", "/image-sets"):
            response = gateway.get(f"{path}?cursor={encoded}", headers=keys["alice"])
            assert response.status_code in (200, 422), (path, cursor, response.text)


def test_strange_filters_find_nothing(gateway, keys):
    for path in ("/jobs?kind=%00", "/image-sets?kind=%ED%A0%80", "/reports?kind='%3B--"):
        response = gateway.get(path, headers=keys["alice"])
        assert response.status_code in (200, 422), (path, response.text)
