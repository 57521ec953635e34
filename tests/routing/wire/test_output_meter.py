"""How much output has passed, where a provider's own count has not come yet."""

from routing.wire.text_length import OutputMeter


def metered(*deltas):
    meter = OutputMeter()
    for delta in deltas:
        meter.add(len(delta))
    return meter.tokens


def test_deltas_of_a_token_each_are_counted():
    assert metered(*[" word"] * 400) == 400


def test_deltas_of_several_tokens_are_measured():
    assert metered(*[" several words at once, as some providers send"] * 10) == 115


def test_deltas_without_content_are_no_tokens():
    assert metered("", "", "one") == 1


def test_nothing_is_nothing():
    assert metered() == 0
