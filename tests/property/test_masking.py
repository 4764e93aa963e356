"""Masking: no canary survives in any shape that a secret may come in."""

from __future__ import annotations

import os
from unittest.mock import patch
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streambt_spark.masking import mask

SHAPES = (
    "mongodb://me:{}@host:27017/db",
    "s3a://{}:x@bucket/path",
    "me:{}@host:9092",
    "bootstrap=me:{}@host:9092,other:9092",
    "password={}",
    "PASSWORD = {}",
    "passwd: {}",
    "pwd={}",
    "apikey={}",
    "api-key: {}",
    "client_secret={}",
    "access.token={}",
    "private_key={} next=1",
    "Authorization: Bearer {}",
    "Authorization: Basic {}==",
    "authorization={}",
    "curl -H 'Authorization: Bearer {}' http://h",
    "password=first {} last",
    'password="first {} last"',
    "{{'password': 'first {}'}}",
    '{{"secretKey": "{}", "x": 1}}',
    "{{password: {}}}",
    "https://h/?x=1&token={}&y=2",
    "found ['token={}', 'x=1'], expected NAME=VALUE",
    'required username="u" password="{}";',
    "sasl.jaas.config=Module required {}",
)
SIGNS = st.text("abcXYZ0189/~.+-_!#%$*^,;&)]}", max_size=8)


@given(SIGNS, SIGNS, st.sampled_from(SHAPES))
def test_no_canary_survives(before: str, after: str, shape: str) -> None:
    """Whatever signs a secret begins and ends with, a /, a ~ or a dot among them."""
    assert "c4nary" not in mask(shape.format(f"{before}c4nary{after}"))


@given(SIGNS, SIGNS, st.sampled_from(["{}", "denied for {}", "at ({}), again", "x={}&y"]))
@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "KAFKA_SASL_PASSWORD", "API_TOKEN"])
def test_no_value_of_the_environment_survives(
    name: str, before: str, after: str, shape: str
) -> None:
    """Wherever it turns up, also where it is escaped for an address."""
    secret = f"{before}c4nary{after}"
    with patch.dict(os.environ, {name: secret}):
        assert "c4nary" not in mask(shape.format(secret))
        assert "c4nary" not in mask(shape.format(quote(secret, safe="")))


@given(st.lists(st.text("abcdefghij KLM0123.-/", min_size=1, max_size=12), max_size=12))
def test_words_without_a_secret_stay(words: list[str]) -> None:
    """Text that names no secret and holds no login is left as it is."""
    text = " ".join(words)
    with patch.dict(os.environ, clear=True):
        assert mask(text) == text
