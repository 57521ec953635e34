"""How much output has passed, where a provider's own count has not come yet."""

import pytest

from routing.wire.output_estimate import OutputMeter, tokens_of

PROSE = (
    "The harbour was quiet when we arrived, and the last ferry had already left for the islands."
    " A fisherman mending his nets told us, without looking up, that the wind would turn before"
    " morning; nobody in the village expected another boat until Thursday. We found two rooms"
    " above the bakery, paid in advance, and listened to the rain."
)
CODE = (
    "def median(values: list[float]) -> float:\n"
    "    ordered = sorted(values)\n"
    "    middle = len(ordered) // 2\n"
    "    if len(ordered) % 2:\n"
    "        return ordered[middle]\n"
    "    return (ordered[middle - 1] + ordered[middle]) / 2\n"
)
JSON = (
    '{"order_id": 48213, "customer": {"name": "Ada Moreau", "country": "FR"}, "items": [{"sku":'
    ' "A-1009", "quantity": 2, "price": 14.5}, {"sku": "B-77", "quantity": 1, "price": 120}],'
    ' "paid": true}'
)
GERMAN = (
    "Der Zug nach Hamburg fährt heute wegen einer Störung erst zwanzig Minuten später ab. Reisende"
    " mit reservierten Plätzen können ohne Zuschlag auch die nächste Verbindung nehmen; bitte"
    " beachten Sie die Anzeigen am Bahnsteig."
)
RUSSIAN = (
    "Поезд прибывает на вторую платформу через десять минут. Пассажиров просят не заходить за"
    " жёлтую линию и не оставлять вещи без присмотра."
)
CHINESE = (
    "会议改到星期三下午三点，地点不变。请大家提前准备好上个季度的数据，并把问题发给项目负责人。"
)


def metered(*deltas):
    meter = OutputMeter()
    for delta in deltas:
        meter.add({"role": "assistant", "content": delta})
    return meter.tokens


# The two counts are those of o200k_base and of cl100k_base.
@pytest.mark.parametrize(
    ("text", "counts", "off_by_at_most"),
    [
        (PROSE, (68, 69), 0.05),
        (CODE, (63, 62), 0.05),
        (JSON, (76, 76), 0.05),
        (GERMAN, (45, 56), 0.15),
        (RUSSIAN, (40, 61), 0.3),
        (CHINESE, (30, 45), 0.5),
    ],
    ids=["prose", "code", "json", "german", "russian", "chinese"],
)
def test_a_text_is_about_as_many_tokens_as_tokenizers_make_of_it(text, counts, off_by_at_most):
    for count in counts:
        assert abs(tokens_of(text) - count) <= count * off_by_at_most


def test_deltas_of_a_token_each_are_counted():
    assert metered(*[" word"] * 400) == 400


def test_deltas_of_several_words_are_read():
    assert metered(*[" several words at once, as some providers send"] * 10) == 90


@pytest.mark.parametrize("words", [2, 5, 11])
def test_however_a_text_is_cut_between_its_words_it_is_as_much(words):
    text = PROSE.split(" ")
    deltas = [" ".join(text[i : i + words]) + " " for i in range(0, len(text), words)]
    assert metered(*deltas) == tokens_of(PROSE)


def test_single_words_are_counted_however_long():
    assert metered(*[" information", " token-number-7"] * 300) == 600


def test_a_delta_of_several_words_among_single_ones_counts_as_several():
    assert metered(*[" word"] * 95, *[" three words here"] * 5) == 110


def test_text_without_spaces_in_long_pieces_is_read():
    assert metered(*["x" * 40] * 10) == 50
    assert metered(CHINESE) == 45


def test_a_text_too_long_to_be_read_is_measured():
    assert tokens_of("word " * 1_000_000) == 1_250_000


def test_deltas_without_content_are_no_tokens():
    assert metered("", "", "one") == 1


def test_nothing_is_nothing():
    assert metered() == 0
    assert tokens_of("") == 0
