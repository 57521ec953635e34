from datetime import UTC, datetime, timedelta
from uuid import UUID

from routing.request_id import new_request_id

NOW = datetime(2026, 11, 24, 5, 0, 0, 123000, tzinfo=UTC)


def test_R54_an_id_is_a_version_7_uuid_of_its_moment():
    uuid = UUID(new_request_id(NOW).removeprefix("req_"))
    assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")
    assert uuid.int >> 80 == int(NOW.timestamp() * 1000)


def test_ids_differ_and_sort_by_time():
    ids = [new_request_id(NOW + timedelta(milliseconds=n)) for n in range(100)]
    assert ids == sorted(set(ids))
    assert new_request_id(NOW) != new_request_id(NOW)
