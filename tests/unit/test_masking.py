"""Masking: no secret in any text that leaves the process, and nothing else taken from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from streambt_spark.masking import mask, mask_values


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("mongodb://u:p@h:1/db", "mongodb://***@h:1/db"),
        ("mongodb://u:p@ss@h/db", "mongodb://***@h/db"),
        ("mongodb://u:p/s'w\"d@h/ a@b.c", "mongodb://***@h/ a@b.c"),
        ("broker u:p@ss@h:9092 is gone", "broker ***@h:9092 is gone"),
        ("see http://h/path?token=abc&x=1", "see http://h/path?token=***&x=1"),
        ('{"secretKey": "abc"}', '{"secretKey": ***}'),
        ("aws_secret_access_key = abc def", "aws_secret_access_key = ***"),
        ("password=two words user=me", "password=*** user=me"),
        ("pwd=/abc; details in /tmp/x", "pwd=***; details in /tmp/x"),
        ("denied (apikey: abc)", "denied (apikey: ***)"),
        ("password=it's,mine); x", "password=***); x"),
        ("token=a,b,user=c", "token=***,user=c"),
        ("-H 'Authorization: Bearer abc.def'", "-H 'Authorization: ***'"),
        ("Authorization: Basic dTpw=\nnext", "Authorization: ***\nnext"),
        ("boom, token=a b (sma.py line 4)", "boom, token=*** (sma.py line 4)"),
        ("boom, pwd=a (line 4, in f)", "boom, pwd=*** (line 4, in f)"),
        ("sent Bearer eyJhbG.ciOi to h", "sent Bearer *** to h"),
    ],
)
def test_masks_addresses_and_pairs(text: str, masked: str) -> None:
    """Logins, the values of secret names and bearer tokens are masked, and nothing else."""
    assert mask(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "no s3://u/p here, ask me@b.c",
        "fast=10 a@b.c",
        "mailto:me@b.c",
        "sma.py:2: ValueError: boom at 350 (line 4)",
        "bars.csv: row 3 at 2024-01-02T09:30:00Z by me@example.org",
        "--topic: found 'bars', expected the topic of the bars",
        "kafka at a:9092,b:9092 did not answer",
        "the bearer of news passes the keys to a secretary",
        "invalid token (line 3)",
        "MongoDB at mongodb://localhost:27017/?ssl=true did not answer in 8 tries",
        "git@github.com:owner/project",
    ],
)
def test_ordinary_texts_stay(text: str) -> None:
    """A message without a secret is told as it is."""
    assert mask(text) == text


def test_masks_values_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret of the environment is masked wherever it turns up, however it is written."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-4711")
    monkeypatch.setenv("STREAMBT_MONGO_ADDRESS", "mongodb://me:hunter22@h")
    monkeypatch.setenv("STREAMBT_KAFKA_BOOTSTRAP", "me:bootpw77@h:9092")
    monkeypatch.setenv("MYSQL_PWD", "two  words\nof it")
    text = "denied for canary-4711 and hunter22 by bootpw77; two words of it"
    assert mask(text) == "denied for *** and *** by ***; ***"
    monkeypatch.setenv("SASL_PASSWORD", "slash/and space")
    assert mask("slash%2Fand%20space") == "***"


def test_masks_keys_with_a_slash_but_no_places(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A secret may begin with a /, a ~ or a dot; a file that holds one is told by its name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "one").touch()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtn/K7MDENG")
    monkeypatch.setenv("STREAMBT_MONGO_ADDRESS", "mongodb://me:hun/ter22@h")
    for number, value in enumerate(("/abcdef", "~/abcde", "./abcde", ".abcdefg", "~abcdefg")):
        monkeypatch.setenv(f"TOKEN_{number}", value)
    assert mask("wJalrXUtn/K7MDENG hun/ter22") == "*** ***"
    assert mask("/abcdef ~/abcde ./abcde .abcdefg ~abcdefg") == "*** *** *** *** ***"
    monkeypatch.setenv("TOKEN", "keys/one")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/run/token")
    monkeypatch.setenv("PWD", "/home/somebody")
    assert mask("keys/one /run/token /home/somebody") == "keys/one /run/token /home/somebody"


def test_masks_plain_data() -> None:
    """Whatever stands under a secret name, and the secrets in the other texts."""
    data = {
        "run": {"parameters": {"token": 5, "api-key": None, "fast": 10, "sort_key": ["a"]}},
        "source": "s3a://key:pw@bucket/x",
        "symbols": ("AAPL", "SPY"),
    }
    assert mask_values(data) == {
        "run": {"parameters": {"token": "***", "api-key": None, "fast": 10, "sort_key": "***"}},
        "source": "s3a://***@bucket/x",
        "symbols": ["AAPL", "SPY"],
    }
