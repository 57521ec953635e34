import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.usage import LARGEST_TOKEN_COUNT, Usage
from routing.wire.usage_reading import read_anthropic_usage, read_openai_usage

FIGURES = (
    st.integers()
    | st.booleans()
    | st.none()
    | st.floats(allow_nan=False)
    | st.sampled_from(["7", [], {}])
)
DETAILS = FIGURES | st.dictionaries(
    st.sampled_from(
        [
            "cached_tokens",
            "cache_write_tokens",
            "reasoning_tokens",
            "thinking_tokens",
            "ephemeral_1h_input_tokens",
            "ephemeral_5m_input_tokens",
        ]
    ),
    FIGURES,
)
REPORTS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        [
            "prompt_tokens",
            "completion_tokens",
            "prompt_tokens_details",
            "completion_tokens_details",
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
            "cache_creation",
            "output_tokens_details",
        ],
        DETAILS,
    ),
)


@given(REPORTS, st.sampled_from([read_openai_usage, read_anthropic_usage]))
def test_G8_no_report_however_wrong_makes_an_impossible_usage(report, read):
    usage = read(report)
    if usage is None:
        return
    assert 0 <= usage.cached_input_tokens + usage.cache_write_tokens <= usage.input_tokens
    assert 0 <= usage.cache_write_1h_tokens <= usage.cache_write_tokens
    assert 0 <= usage.reasoning_tokens <= usage.output_tokens
    assert max(usage.input_tokens, usage.output_tokens) <= LARGEST_TOKEN_COUNT


@pytest.mark.parametrize("figure", [-1, LARGEST_TOKEN_COUNT + 1, "7", True, None, 1.5])
def test_F20_an_impossible_figure_is_flagged(figure):
    usage = read_openai_usage({"prompt_tokens": 5, "completion_tokens": figure})
    assert usage is not None
    assert usage.suspect
    assert usage.input_tokens == 5


def test_a_part_larger_than_the_whole_is_flagged():
    details = {"cached_tokens": 9}
    report = {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": details}
    assert read_openai_usage(report) == Usage(5, 5, 0, 0, 1, 0, suspect=True)


@pytest.mark.parametrize("report", [None, [], "x", {}, {"total_tokens": 5}])
def test_nothing_usable_is_no_report(report):
    assert read_openai_usage(report) is None
    assert read_anthropic_usage(report) is None


def test_a_breakdown_without_a_total_is_added_up():
    report = {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
    }
    assert read_anthropic_usage(report) == Usage(8, 0, 7, 4, 2, 0)
