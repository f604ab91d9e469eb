"""Cron patterns, time zones, and what happens when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import cron


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(pattern: str, *, after: str, count: int, zone: str = "UTC") -> list[str]:
    """The next *count* matches, as UTC texts."""
    found = []
    moment = utc(after)
    for _ in range(count):
        moment = cron.next_time(pattern, after=moment, zone=zone)
        found.append(moment.strftime("%m-%d %H:%M:%S").removesuffix(":00"))
    return found


def test_a_match_is_later_than_the_moment_asked_about():
    assert times("* * * * *", after="2026-01-01 00:00:00", count=2) == [
        "01-01 00:01",
        "01-01 00:02",
    ]


def test_a_sixth_field_is_seconds():
    assert times("* * * * * */20", after="2026-01-01 00:00:05", count=3) == [
        "01-01 00:00:20",
        "01-01 00:00:40",
        "01-01 00:01",
    ]


def test_aliases_are_understood():
    assert times("@daily", after="2026-01-01 10:00", count=1) == ["01-02 00:00"]
    assert times("@hourly", after="2026-01-01 10:00", count=1) == ["01-01 11:00"]


@pytest.mark.parametrize(
    "pattern",
    [
        *("nonsense", "", "* * *", "61 * * * *", "* * * * * * 2030", "R * * * *", "H * * * *"),
        "TZ=Europe/Berlin 61 * * * *",
    ],
)
def test_what_is_no_pattern_is_refused_with_its_text(pattern: str):
    with pytest.raises(cron.InvalidPattern) as caught:
        cron.next_time(pattern, after=utc("2026-01-01 00:00"))
    assert str(caught.value) == f"The specified pattern is not valid: {pattern}"


def test_a_pattern_that_never_matches_is_refused_when_its_next_time_is_asked_for():
    with pytest.raises(cron.InvalidPattern):
        cron.next_time("0 0 31 2 *", after=utc("2026-01-01 00:00"))


@pytest.mark.parametrize("name", ["Nowhere/City", "../etc/passwd", "", "Europe"])
def test_an_unknown_zone_is_refused(name: str):
    with pytest.raises(cron.UnknownZone):
        cron.next_time("* * * * *", after=utc("2026-01-01 00:00"), zone=name)


def test_a_time_of_day_follows_the_zone_through_the_year():
    zone = "Europe/Berlin"
    assert times("0 9 * * *", after="2026-01-10 12:00", count=1, zone=zone) == ["01-11 08:00"]
    assert times("0 9 * * *", after="2026-07-10 12:00", count=1, zone=zone) == ["07-11 07:00"]


def test_a_pattern_may_name_its_zone():
    assert times("CRON_TZ=Europe/Berlin 0 9 * * *", after="2026-07-10 12:00", count=1) == [
        "07-11 07:00"
    ]
    assert cron.split("TZ=Asia/Kathmandu */5 * * * *") == ("Asia/Kathmandu", "*/5 * * * *")
    with pytest.raises(cron.UnknownZone):
        times("CRON_TZ=Mars/Olympus 0 9 * * *", after="2026-07-10 12:00", count=1)


# In Berlin, 2026-03-29 02:00 becomes 03:00 (01:00 UTC) and 2026-10-25 03:00 becomes 02:00
# (01:00 UTC).


def test_a_time_of_day_that_is_left_out_comes_an_hour_later():
    assert times("30 2 * * *", after="2026-03-28 00:00", count=3, zone="Europe/Berlin") == [
        "03-28 01:30",
        "03-29 01:30",  # 03:30 in Berlin
        "03-30 00:30",
    ]


def test_a_time_of_day_that_comes_twice_matches_once():
    assert times("30 2 * * *", after="2026-10-24 12:00", count=2, zone="Europe/Berlin") == [
        "10-25 00:30",
        "10-26 01:30",
    ]


def test_every_half_hour_goes_on_through_the_hour_that_comes_twice():
    assert times("*/30 * * * *", after="2026-10-24 23:45", count=6, zone="Europe/Berlin") == [
        "10-25 00:00",
        "10-25 00:30",
        "10-25 01:00",
        "10-25 01:30",
        "10-25 02:00",
        "10-25 02:30",
    ]


def test_every_half_hour_goes_on_where_an_hour_is_left_out():
    assert times("*/30 * * * *", after="2026-03-29 00:15", count=4, zone="Europe/Berlin") == [
        "03-29 00:30",
        "03-29 01:00",
        "03-29 01:30",
        "03-29 02:00",
    ]


def test_every_second_hour_skips_the_one_that_is_left_out():
    # 00:00, (02:00 is left out), 04:00, 06:00 in Berlin.
    assert times("0 */2 * * *", after="2026-03-28 22:30", count=3, zone="Europe/Berlin") == [
        "03-28 23:00",
        "03-29 02:00",
        "03-29 04:00",
    ]


def test_a_change_of_half_an_hour_is_followed():
    # On Lord Howe Island 2026-04-05 02:00 (15:00 UTC) becomes 01:30.
    assert times("15 * * * *", after="2026-04-04 13:30", count=3, zone="Australia/Lord_Howe") == [
        "04-04 14:15",  # 01:15
        "04-04 15:45",  # 02:15
        "04-04 16:45",
    ]
    assert times("*/15 * * * *", after="2026-04-04 14:40", count=3, zone="Australia/Lord_Howe") == [
        "04-04 14:45",  # 01:45
        "04-04 15:00",  # 01:30, for the second time
        "04-04 15:15",  # 01:45, for the second time
    ]


def test_missed_slots_collapse_into_one():
    slot, now = utc("2026-01-01 00:01"), utc("2026-01-01 00:10:30")
    assert cron.next_slot("* * * * *", slot=slot, now=now) == utc("2026-01-01 00:11")


def test_a_slot_fired_a_little_early_is_not_fired_again():
    slot = utc("2026-01-01 00:01")
    early = slot - timedelta(seconds=1)
    assert cron.next_slot("* * * * *", slot=slot, now=early) == utc("2026-01-01 00:02")


PATTERNS = st.sampled_from(
    [
        "* * * * *",
        "*/7 * * * *",
        "15 */3 * * *",
        "30 2 * * *",
        "0 0 1 * *",
        "0 12 * * 1-5",
        "5 1,2,3 * * *",
    ]
)
ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "America/St_Johns",
    ]
)
_EARLIEST, _LATEST = datetime(2025, 1, 1), datetime(2028, 1, 1)  # noqa: DTZ001 - made aware below
MOMENTS = st.datetimes(_EARLIEST, _LATEST, timezones=st.just(UTC))


@given(pattern=PATTERNS, zone=ZONES, moment=MOMENTS)
def test_nothing_matches_between_a_moment_and_its_next_time(pattern, zone, moment):
    found = cron.next_time(pattern, after=moment, zone=zone)
    assert found > moment
    # Asked from any moment before it, the answer is never later.
    halfway = moment + (found - moment) / 2
    assert cron.next_time(pattern, after=halfway, zone=zone) == found or (
        # Unless the moment just before was within the same second.
        halfway.replace(microsecond=0) == found
    )
