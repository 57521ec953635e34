import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import InvalidRequestError
from routing.wire import json_body

NAMES = ["model", "n", "user", "max_tokens", "stream_options"]
# How one name can be spelled: plainly, or with escapes.
SPELLINGS: st.SearchStrategy[Callable[[str], str]] = st.sampled_from(
    [json.dumps, lambda name: f'"{_escaped(name)}"']
)
# Characters that mean something to a scanner, or take several bytes.
TRICKY = 'aé😀\0"\\:,{}[] /'
SPACE = st.sampled_from(["", " ", "\n\t", "\r\n  "])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(TRICKY, max_size=8)
    | st.sampled_from(['"model":', "\\", 'x"', "model", ":", "\\u003a", "{", "]"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*NAMES, "a:b", '"model"']), inner, max_size=3)
    ),
    max_leaves=8,
)


def _escaped(name: str) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in name)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """An object written oddly, and what it means."""
    body = draw(st.dictionaries(st.sampled_from([*NAMES, "z"]), VALUES, max_size=6))
    members = []
    for name, value in body.items():
        spelled = draw(SPELLINGS)(name)
        written = json.dumps(
            value, ensure_ascii=draw(st.booleans()), indent=draw(st.none() | st.just(1))
        )
        members.append(f"{draw(SPACE)}{spelled}{draw(SPACE)}:{draw(SPACE)}{written}{draw(SPACE)}")
    text = f"{draw(SPACE)}{{{','.join(members)}{draw(SPACE)}}}{draw(SPACE)}"
    return text.encode(), body


@given(bodies())
def test_an_oddly_written_body_is_read_as_it_means(written):
    raw, body = written
    assert json_body.decode(raw) == body


@given(bodies(), st.sampled_from(NAMES), VALUES)
def test_one_member_is_put_and_the_rest_stays(written, name, value):
    raw, body = written
    put = json_body.replace_member if name in body else json_body.add_member
    changed = put(raw, name, json.dumps(value).encode())
    assert list(json_body.decode(changed).items()) == list((body | {name: value}).items())


@given(bodies(), st.sampled_from(NAMES))
def test_one_member_is_removed_and_the_rest_stays(written, name):
    raw, body = written
    if name in body:
        raw = json_body.remove_member(raw, name)
        del body[name]
    assert list(json_body.decode(raw).items()) == list(body.items())


def test_numbers_order_escapes_and_space_survive_a_splice():
    raw = (
        b'{ "seed": 1.50e3,"big":123456789012345678901234567890, "x":"\\u00e9\\/", "model" : "a" }'
    )
    expected = raw.replace(b'"a"', b'"b"')
    assert json_body.replace_member(raw, "model", b'"b"') == expected


def test_a_key_of_the_same_name_further_in_is_left_alone():
    raw = b'{"tools":[{"model":"inner"}],"mod\\u0065l":"outer"}'
    changed = json_body.replace_member(raw, "model", b'"new"')
    assert json.loads(changed) == {"tools": [{"model": "inner"}], "model": "new"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'"text"',
        b"{",
        b'{"a":1,}',
        b'{"a":1}{}',
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1e400}',
        b'{"a":-1e400}',
        b'{"a":%b}' % (b"9" * 5000),
        b'{"a":01}',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00x"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\x00"}',
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        b'{"a":' + b"[" * 64 + b"]" * 64 + b"}",
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
)
def test_F50_F51_F53_F57_what_parsers_could_read_differently_is_refused(raw):
    with pytest.raises(InvalidRequestError):
        json_body.decode(raw)


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b'{"n":1e400}', "n"),
        ('{"é👋":"\\"", "n" :\n -1e400, "m":1}'.encode(), "n"),
        (b'{"thinking":{"budget_tokens":%b}}' % (b"9" * 400), "budget_tokens"),
        (b'{"a":"%b","n":1e400}' % (b'\\"' * 1000), "n"),
        (b'{"a":[1,1e400]}', None),
        (b'{"a\\"n":1e400}', None),
        (b'{"%b":1e400}' % (b"n" * 101), None),
        (b"1e400", None),
    ],
)
def test_a_number_beyond_a_double_is_named_where_it_has_a_name(raw, key):
    with pytest.raises(InvalidRequestError) as refused:
        json_body.decode(raw)
    assert refused.value.param == key


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b'{"model":"a","model":"b"}', "model"),
        (b'{"model":"a","mod\\u0065l":"b"}', "model"),
        (b'{"x":[{"y":{"k":1,"k":1}}]}', "k"),
        (b'{"a":"\\u003a","k":1,"k":2}', "k"),
        (b'{"a\\u003A":":\\\\u003a","k":":","k":2}', "k"),
    ],
)
def test_F52_a_duplicate_key_at_any_depth_is_refused_by_name(raw, key):
    with pytest.raises(InvalidRequestError) as refusal:
        json_body.decode(raw)
    assert refusal.value.param == key


def test_a_duplicate_key_in_a_large_body_is_refused():
    raw = b'{"a":"%b","k":1,"k":2}' % (b"x" * (1 << 20))
    with pytest.raises(InvalidRequestError):
        json_body.decode(raw)


def test_nesting_of_64_passes():
    raw = b'{"a":' + b"[" * 63 + b"]" * 63 + b"}"
    assert json_body.decode(raw)


def test_F56_nul_in_a_string_passes():
    assert json_body.decode(b'{"a":"\\u0000"}') == {"a": "\0"}
