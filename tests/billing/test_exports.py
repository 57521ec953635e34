"""The cost exports: exact bytes, exact days, nothing that a spreadsheet runs."""

import csv
import io
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from billing import exports
from billing.csv_text import csv_bytes, guarded
from billing.exports import (
    COSTS_HEADER,
    costs_csv,
    read_export,
    read_group_by,
    summary_csv,
)
from billing.models import LedgerEntry
from keys.errors import InvalidRequestError
from keys.models import Team
from tests.billing.ledger_filling import NOON, call, fill

pytestmark = pytest.mark.django_db

DAY = {"first": "2026-03-10", "last": "2026-03-10"}


def text_of(**asked):
    return b"".join(costs_csv(read_export(**{**DAY, **asked}))).decode()


def rows_of(**asked):
    return list(csv.DictReader(io.StringIO(text_of(**asked), newline="")))


def summary_of(group_by, **asked):
    pieces = summary_csv(read_export(**{**DAY, **asked}), read_group_by(group_by))
    return list(csv.reader(io.StringIO(b"".join(pieces).decode(), newline="")))


def test_a_row_says_everything_in_the_order_of_the_header():
    fill(
        call(
            request_id="req_1",
            end_user="alice",
            tags={"project": "alpha", "env": "prod"},
            cost_nano_usd=1,
        )
    )
    assert text_of() == (
        ",".join(COSTS_HEADER) + "\r\n"
        "req_1,0,2026-03-10T12:00:00.000000+00:00,2026-03-10,research,ci,gw_abcdef,alice,"
        "env=prod;project=alpha,gpt-4o,openai-main,gpt-4o-2024-08-06,ok,100,20,0,50,5,"
        "0.000000001,provider,1,false,420\r\n"
    )


def test_no_entries_are_a_header():
    assert text_of() == ",".join(COSTS_HEADER) + "\r\n"


def test_an_unknown_cost_is_empty_and_a_correction_may_be_negative():
    fill(call(cost_nano_usd=None))
    correction = asdict(call(status="correction", entry=1, cost_nano_usd=-5))
    del correction["timezone"]
    LedgerEntry.objects.create(**correction)
    assert [row["cost_usd"] for row in rows_of()] == ["", "-0.000000005"]


def test_rows_are_ordered_by_time_request_and_entry():
    later = NOON + timedelta(microseconds=1)
    fill(
        call(request_id="b", started_at=later),
        call(request_id="b", entry=1),
        call(request_id="b", entry=0),
        call(request_id="a"),
    )
    assert [(row["request_id"], row["entry"]) for row in rows_of()] == [
        ("a", "0"), ("b", "0"), ("b", "1"), ("b", "0"),
    ]  # fmt: skip


def test_pieces_neither_skip_nor_repeat_rows(monkeypatch):
    monkeypatch.setattr(exports, "_ROWS_PER_QUERY", 3)
    calls = [
        call(request_id=f"r{n // 2}", entry=n % 2, started_at=NOON + timedelta(seconds=n // 8))
        for n in range(32)
    ]
    fill(*calls)
    found = [(row["started_at"], row["request_id"], int(row["entry"])) for row in rows_of()]
    assert len(found) == len(set(found)) == 32
    assert found == sorted(found)


def test_excel_gets_a_byte_order_mark_and_semicolons():
    fill(call(tags={"a": "1", "b": "2"}))
    text = text_of(excel=True)
    assert text.startswith("\ufeffrequest_id;entry;")
    assert ';"a=1;b=2";' in text


def test_cells_with_quotes_commas_and_line_breaks_come_back_whole():
    odd = 'a "quoted", line\r\nbroken\rcell'
    fill(call(end_user=odd))
    assert rows_of()[0]["end_user"] == odd


@pytest.mark.parametrize("first", "=+-@\t\r\n＝＋－＠﹢﹦")
def test_a_text_cell_never_begins_like_a_formula_G30(first):
    fill(call(end_user=f"{first}cmd|' /C calc'!A0"))
    assert rows_of()[0]["end_user"] == f"'{first}cmd|' /C calc'!A0"


def test_a_zero_byte_is_guarded_too():
    assert guarded("\0=1") == "'\0=1"


@given(st.text())
def test_guarding_only_ever_adds_an_apostrophe(text):
    assert guarded(text) in (text, f"'{text}")


@given(
    st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2), min_size=1)
)
def test_csv_is_read_back_as_it_was_written(rows):
    raw = b"".join(csv_bytes(["a", "b"], rows)).decode()
    assert list(csv.reader(io.StringIO(raw, newline="")))[1:] == rows


def test_days_are_those_of_the_zone_and_both_ends_count():
    paris_midnight = datetime(2026, 3, 9, 23, tzinfo=UTC)
    fill(
        call(request_id="before", started_at=paris_midnight - timedelta(microseconds=1)),
        call(request_id="first", started_at=paris_midnight),
        call(request_id="last", started_at=paris_midnight + timedelta(hours=24, microseconds=-1)),
        call(request_id="after", started_at=paris_midnight + timedelta(hours=24)),
    )
    rows = rows_of(zone="Europe/Paris")
    assert [row["request_id"] for row in rows] == ["first", "last"]
    assert rows[0]["started_at"] == "2026-03-10T00:00:00.000000+01:00"
    assert {row["date"] for row in rows} == {"2026-03-10"}


def test_the_day_the_clocks_go_forward_has_23_hours_F43():
    start = datetime(2026, 3, 28, 23, tzinfo=UTC)
    fill(*(call(started_at=start + timedelta(hours=hour)) for hour in range(24)))
    rows = rows_of(first="2026-03-29", last="2026-03-29", zone="Europe/Paris")
    assert len(rows) == 23


def test_a_team_brings_its_zone_and_its_entries_only():
    team = Team.objects.create(name="research", timezone="America/New_York")
    fill(call(team_id=team.pk), call(team_id=team.pk + 1, team="other"))
    rows = rows_of(team="research")
    assert [row["started_at"] for row in rows] == ["2026-03-10T08:00:00.000000-04:00"]


@pytest.mark.parametrize(
    ("param", "asked"),
    [
        ("from", {"first": "2026-03-11"}),
        ("from", {"first": ""}),
        ("from", {"first": "20260311"}),
        ("from", {"first": "0001-01-01"}),
        ("to", {"last": "2026-02-30"}),
        ("to", {"last": "9999-12-31"}),
        ("timezone", {"zone": "Mars/Olympus"}),
        ("timezone", {"zone": "../../etc/passwd"}),
        ("timezone", {"zone": "Europe"}),
        ("team", {"team": "nobody"}),
    ],
)
def test_a_bad_question_is_refused_by_name(param, asked):
    with pytest.raises(InvalidRequestError) as refused:
        read_export(**{**DAY, **asked})
    assert refused.value.param == param


@pytest.mark.parametrize("group_by", ["", "planet", "day,day", "day;team"])
def test_a_bad_grouping_is_refused(group_by):
    with pytest.raises(InvalidRequestError) as refused:
        read_group_by(group_by)
    assert refused.value.param == "group_by"


def test_a_summary_sums_by_day_and_team_in_that_order():
    fill(
        call(),
        call(),
        call(started_at=NOON - timedelta(days=1), team_id=2, team="app", cost_nano_usd=None),
    )
    assert summary_of("day,team", first="2026-03-01", last="2026-03-31") == [
        ["day", "team", "requests", "input_tokens", "cached_input_tokens", "output_tokens",
         "cost_usd"],
        ["2026-03-09", "app", "1", "100", "20", "50", ""],
        ["2026-03-10", "research", "2", "200", "40", "100", "0.001450000"],
    ]  # fmt: skip


def test_a_summary_by_tag_counts_an_entry_for_each_of_its_tags():
    fill(call(tags={"a": "1", "b": "2"}), call(tags={"a": "1"}), call())
    lines = summary_of("tag,end_user")[1:]
    assert [line[:3] for line in lines] == [["", "", "1"], ["a=1", "", "2"], ["b=2", "", "1"]]


def test_keys_of_one_name_are_lines_of_their_own():
    fill(call(key_id=1), call(key_id=2))
    assert [line[:2] for line in summary_of("key")[1:]] == [["ci", "1"], ["ci", "1"]]


def test_labels_of_a_summary_are_guarded():
    fill(call(requested_model="=1+1"))
    assert summary_of("model")[1][0] == "'=1+1"


@pytest.mark.parametrize(
    "group_by",
    ["day", "month", "team", "key", "end_user", "model", "provider", "month,end_user,key,model"],
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_every_summary_adds_up_to_the_cost_rows_G5(group_by, zone):
    fill(
        *(
            call(
                started_at=datetime(2026, 3, 20, tzinfo=UTC) + timedelta(hours=7 * n, minutes=n),
                team_id=n % 3,
                team=f"team{n % 3}",
                key_id=n % 5,
                end_user=("", "alice")[n % 2],
                requested_model=f"m{n % 4}",
                entry=int(n % 7 == 0),
                cost_nano_usd=None if n % 11 == 0 else n * 1_234_567,
            )
            for n in range(80)
        )
    )
    asked = {"first": "2026-03-25", "last": "2026-04-08", "zone": zone}
    rows = rows_of(**asked)
    lines = summary_of(group_by, **asked)[1:]
    assert sum(Decimal(line[-1] or 0) for line in lines) == sum(
        Decimal(row["cost_usd"] or 0) for row in rows
    )
    assert sum(int(line[-5]) for line in lines) == sum(row["entry"] == "0" for row in rows)
    assert sum(int(line[-2]) for line in lines) == sum(int(row["output_tokens"]) for row in rows)


def test_days_of_a_summary_are_the_dates_of_the_rows():
    fill(*(call(started_at=NOON + timedelta(hours=5 * n)) for n in range(40)))
    asked = {"first": "2026-03-01", "last": "2026-03-31", "zone": "Asia/Kathmandu"}
    dates = [row["date"] for row in rows_of(**asked)]
    assert {line[0]: int(line[1]) for line in summary_of("day", **asked)[1:]} == {
        date: dates.count(date) for date in dates
    }


def test_the_command_writes_the_same_bytes_to_a_file(tmp_path):
    fill(call())
    target = tmp_path / "costs.csv"
    call_command("export_costs", "--from=2026-03-10", "--to=2026-03-10", f"--output={target}")
    assert target.read_bytes() == text_of().encode()
    assert list(tmp_path.iterdir()) == [target]


def test_the_command_writes_a_summary_to_standard_output(capfdbinary):
    fill(call())
    call_command("export_costs", "--from=2026-03-10", "--to=2026-03-10", "--summary=day,team")
    sys.stdout.flush()
    assert capfdbinary.readouterr().out.splitlines()[1].startswith(b"2026-03-10,research,1,100,")


def test_the_command_says_what_is_wrong_in_one_line():
    with pytest.raises(CommandError, match=r"^from must not be after to\.$"):
        call_command("export_costs", "--from=2026-03-11", "--to=2026-03-10")


def test_a_failed_export_leaves_the_old_file_and_no_rubbish(tmp_path, monkeypatch):
    target = tmp_path / "costs.csv"
    target.write_bytes(b"old")
    monkeypatch.setattr(exports, "_ROWS_PER_QUERY", -1)
    fill(call())
    with pytest.raises(ValueError, match="Negative indexing"):
        call_command("export_costs", "--from=2026-03-10", "--to=2026-03-10", f"--output={target}")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
