"""What must hold of the ledger when an outage is over."""

import csv
import io
from collections import Counter

from tests.fake_provider import FakeProvider
from tests.loopback import wait_until
from tests.outages.steady_load import Call
from tests.running_gateway import RunningGateway


def ledger(gateway: RunningGateway) -> list[dict[str, str]]:
    table = gateway.manage("export_costs", "--from", "2020-01-01", "--to", "2100-01-01")
    return list(csv.DictReader(io.StringIO(table)))


def rows_by_name(gateway: RunningGateway) -> Counter[str]:
    return Counter(row["end_user"] for row in ledger(gateway) if row["entry"] == "0")


def check_books(gateway: RunningGateway, upstream: FakeProvider, calls: list[Call]) -> None:
    """Those calls that the provider finished are on the ledger once, and the books agree.

    The backlog of the outage has a minute for it.
    """
    finished = {seen.json["messages"][0]["content"] for seen in upstream.seen if seen.finished}
    finished &= {call.name for call in calls}
    answered = {call.name for call in calls if call.status == 200}
    assert answered <= finished
    wait_until(
        lambda: not finished - rows_by_name(gateway).keys(), "the backlog is written", seconds=60
    )
    rows = ledger(gateway)
    by_name = Counter(row["end_user"] for row in rows if row["entry"] == "0")
    assert {name: by_name[name] for name in finished} == dict.fromkeys(finished, 1)
    entries = Counter((row["request_id"], row["entry"]) for row in rows)
    assert set(entries.values()) <= {1}
    gateway.manage("check_books")
