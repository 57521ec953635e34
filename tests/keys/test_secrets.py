import string
from zlib import crc32

import pytest

from keys.secrets import (
    hash_secret,
    is_well_formed,
    is_well_formed_staff_token,
    make_secret,
    make_staff_token,
    prefix_of,
)

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def test_a_secret_is_gw_and_43_letters_of_base62():
    secret = make_secret()
    assert secret.startswith("gw_")
    assert len(secret) == 46
    assert set(secret[3:]) <= set(BASE62)


def test_the_last_six_are_the_crc_of_all_before_them():
    secret = make_secret()
    number = 0
    for letter in secret[-6:]:
        number = number * 62 + BASE62.index(letter)
    assert number == crc32(secret[:-6].encode())


def test_a_small_checksum_is_padded_with_zeros():
    assert all(len(make_secret()) == 46 for _ in range(2_000))


def test_a_new_secret_is_well_formed():
    assert is_well_formed(make_secret())


@pytest.mark.parametrize("position", [0, 3, 20, 45])
def test_one_changed_letter_is_noticed(position):
    secret = make_secret()
    other = "x" if secret[position] != "x" else "y"
    assert not is_well_formed(secret[:position] + other + secret[position + 1 :])


@pytest.mark.parametrize("text", ["", "gw_", "sk-1234", "gw_" + "0" * 43, "gw_" + "é" * 43])
def test_other_texts_are_not_well_formed(text):
    assert not is_well_formed(text)


def test_a_staff_token_is_no_api_key():
    token = make_staff_token()
    assert is_well_formed_staff_token(token)
    assert not is_well_formed(token)
    assert not is_well_formed_staff_token(make_secret())


def test_a_prefix_shows_eight_random_letters():
    assert prefix_of("gw_0123456789abc") == "gw_01234567"


def test_a_hash_is_sha256_in_hex():
    assert hash_secret("abc").startswith("ba7816bf8f01cfea")
