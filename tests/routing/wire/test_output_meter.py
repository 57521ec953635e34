"""How much output has passed, where a provider's own count has not come yet."""

from routing.wire.text_length import OutputMeter


def metered(*deltas):
    meter = OutputMeter()
    for delta in deltas:
        meter.add({"role": "assistant", "content": delta})
    return meter.tokens


def test_deltas_of_a_token_each_are_counted():
    assert metered(*[" word"] * 400) == 400


def test_deltas_of_several_tokens_are_measured():
    assert metered(*[" several words at once, as some providers send"] * 10) == 115


def test_single_words_are_counted_however_long():
    assert metered(*[" information", " token-number-7"] * 300) == 600


def test_a_few_deltas_of_several_words_make_no_measured_text():
    assert metered(*[" word"] * 95, *[" three words here"] * 5) == 100


def test_text_without_spaces_in_long_pieces_is_measured():
    assert metered(*["x" * 40] * 10) == 100


def test_deltas_without_content_are_no_tokens():
    assert metered("", "", "one") == 1


def test_nothing_is_nothing():
    assert metered() == 0
