"""The report: one offline file with the right numbers in it, whatever the run and its names."""

from __future__ import annotations

import base64
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from streambt_spark.core.ledger.trades import Fills, match_fills
from streambt_spark.engines.frames import trades_frame
from streambt_spark.errors import ExtraMissing, OutputError
from streambt_spark.report import ReportData, charts, page, render, text
from streambt_spark.report.series import buy_and_hold, monthly_returns, thin

DAY = 86_400_000_000
HOSTILE = "<script>alert('x')</script>&\"</title>"


def days(count: int, start: str = "2021-01-04") -> pd.DatetimeIndex:
    """Return `count` days in UTC."""
    return pd.date_range(start, periods=count, freq="D", tz="UTC")


def round_trips(count: int) -> Fills:
    """Return fills of `count` round trips in symbol 0, bought at 10.00 and sold at 11.00."""
    return Fills(
        ts=np.arange(2 * count, dtype=np.int64) * DAY,
        symbol=np.zeros(2 * count, np.int32),
        side=np.tile(np.array([1, -1], np.int8), count),
        quantity=np.ones(2 * count),
        price=np.tile(np.array([10.0, 11.0]), count),
        commission=np.zeros(2 * count, np.int64),
        amount=np.tile(np.array([-1_000, 1_100]), count),
    )


def report(trips: int = 3, *, lane: str = "a", symbol: str = "AAPL", **changes: Any) -> ReportData:
    """Return a small report of one symbol and `trips` round trips."""
    fills = round_trips(trips)
    ts = pd.DatetimeIndex(fills.ts.astype("datetime64[us]"), tz="UTC")
    span = days(max(2 * trips, 2), "1970-01-01")
    rows = {"lane": lane, "ts": ts, "symbol": symbol}
    side = np.where(fills.side > 0, "buy", "sell")
    filled = pd.DataFrame(
        {**rows, "side": side, "quantity": fills.quantity, "price": fills.price, "commission": 0.0}
    )
    data = ReportData(
        strategy="SMA cross",
        lane=lane,
        fills=filled,
        orders=filled.assign(status="filled", reason=None),
        equity=pd.DataFrame(
            {"lane": lane, "ts": span, "cash": 100.0, "equity": 100.0, "exposure": 0.0}
        ),
        positions=pd.DataFrame({**rows, "quantity": np.arange(2 * trips) % 2 == 0}),
        trades=trades_frame(match_fills(fills)[0], [symbol]),
        metrics={"initial": 100.0, "sharpe": None, "total_return": 0.1234, "trades": trips},
        manifest={"run_id": "r1", "digest": "d" * 64, "counts": {"read": 29_245}},
        prices=pd.DataFrame({"symbol": symbol, "ts": span, "close": np.arange(1.0, len(span) + 1)}),
    )
    return replace(data, **changes)


def written(data: ReportData, folder: Path) -> str:
    """Return the text of the rendered page without Plotly's own code."""
    text_ = render(data, folder / "report.html").read_text(encoding="utf-8")
    from plotly.offline import get_plotlyjs

    assert get_plotlyjs() in text_
    return text_.replace(get_plotlyjs(), "")


def figures(html: str) -> dict[str, Any]:
    """Return the figures in a page."""
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', html)
    assert found
    decoded: dict[str, Any] = json.loads(found[1])
    return decoded


def unpacked(values: dict[str, str]) -> list[float]:
    """Return the numbers of a Plotly typed array."""
    return np.frombuffer(base64.b64decode(values["bdata"]), "<f8").tolist()


class Elements(HTMLParser):
    """Collects the elements of a page, each a tag with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.found.append((tag, dict(attrs)))


def test_loads_nothing(tmp_path: Path) -> None:
    """No element or style refers to anything outside, and the page's own policy forbids it."""
    html = written(report(), tmp_path)
    elements = Elements(html).found
    loading = {"src", "href", "srcset", "data", "action", "poster", "background"}
    assert [tag for tag, attributes in elements if loading & attributes.keys()] == []
    assert "@import" not in html
    assert "url(" not in html
    policies = [a["content"] for _, a in elements if a.get("http-equiv")]
    inline = "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
    assert policies == [f"default-src 'none'; {inline}"]


def test_user_text_is_escaped(tmp_path: Path) -> None:
    """Names of strategy, lane, symbol, run and settings are text, never markup."""
    data = report(
        lane=HOSTILE,
        symbol=HOSTILE,
        strategy=HOSTILE,
        manifest={"run_id": HOSTILE, "engine": HOSTILE, "settings": {HOSTILE: HOSTILE}},
    )
    html = written(data, tmp_path)
    assert "alert(" in html
    assert "<script>alert(" not in html
    assert [tag for tag, _ in Elements(html).found].count("script") == 3
    assert figures(html)["symbols"] == [[HOSTILE, 6]]


def test_shows_the_run(tmp_path: Path) -> None:
    """Strategy, run, digest, counts and metrics are there, formatted; undefined ones a dash."""
    html = written(report(), tmp_path)
    assert "<h1>SMA cross</h1>" in html
    assert "<code>" + "d" * 64 + "</code>" in html
    assert re.search(r'<th scope="row">read</th><td>29,245</td>', html)
    assert re.search(r'<th scope="row">Total return</th><td>\+12\.34 %</td>', html)
    assert re.search(r'<th scope="row">Sharpe</th><td>\N{EN DASH}</td>', html)
    assert "All 3, the latest first." in html


def test_shows_label_and_errors(tmp_path: Path) -> None:
    """What tells the lane from others is among the facts, what its code raised before all else."""
    html = written(
        report(label={"fast": 10, HOSTILE: HOSTILE}, errors=[f"boom {HOSTILE}"]), tmp_path
    )
    assert "<dt>fast</dt><dd>10</dd>" in html
    assert html.index("boom &lt;script&gt;") < html.index("Equity and drawdown")
    assert "<script>alert(" not in html
    assert "The strategy failed" not in written(report(), tmp_path)


def test_shows_the_bars_of_the_manifest(tmp_path: Path) -> None:
    """The number of bars is what the run read, or of the prices where the manifest has none."""
    told = report(manifest={"bars": {"rows": 29_245, "digest": "d" * 64}}, prices=None)
    for data, bars in ((told, "29,245"), (report(), "6")):
        assert f"<dt>Bars</dt><dd>{bars}</dd>" in written(data, tmp_path)


@pytest.mark.parametrize("prices", [True, False])
def test_without_trades(tmp_path: Path, prices: bool) -> None:
    """A run that never traded has a report that says so, with and without prices."""
    data = report(trips=0)
    html = written(data if prices else replace(data, prices=None), tmp_path)
    assert "No position was closed." in html
    assert ('id="price"' in html) is prices


def test_without_slices(tmp_path: Path) -> None:
    """A run without a single slice has a report without charts."""
    data = report(trips=0)
    empty = replace(data, equity=data.equity.iloc[:0], prices=data.prices.iloc[:0], metrics={})
    html = written(empty, tmp_path)
    assert figures(html)["equity"] is None
    assert 'class="heat"' not in html


def test_long_trade_lists_are_cut(tmp_path: Path) -> None:
    """Of more than 500 trades the latest 500 are listed, and the page says so."""
    html = written(report(trips=501), tmp_path)
    assert "The latest 500 of 501 are listed." in html
    assert html.count("<td>long</td>") == 500


def test_other_lanes_are_left_out(tmp_path: Path) -> None:
    """A whole run's frames may be given: only the lane's own rows count."""
    one, two = report(trips=2), report(trips=9, lane="b")
    both = {n: pd.concat([getattr(one, n), getattr(two, n)]) for n in ("fills", "orders", "equity")}
    html = written(replace(one, **both), tmp_path)
    assert figures(html)["symbols"] == [["AAPL", 4]]
    assert re.search(r'<th scope="row">filled</th><td>4</td>', html)


def test_every_fill_is_marked(tmp_path: Path) -> None:
    """Closes are thinned, fills are not: all 2,000 of 3,000 bars are on the chart."""
    data = report(trips=1_000)
    data = replace(
        data, prices=pd.DataFrame({"symbol": "AAPL", "ts": days(3_000), "close": np.ones(3_000)})
    )
    line, buys, sells, _ = figures(written(data, tmp_path))["price"][0]["data"]
    assert len(unpacked(line["x"])) <= charts.PRICE_POINTS
    assert unpacked(buys["y"]) == [10.0] * 1_000
    assert unpacked(sells["y"]) == [11.0] * 1_000


def test_drawdown_counts_from_the_start_cash() -> None:
    """Equity that starts below the initial cash is a drawdown from the first slice on."""
    drawn = charts.equity_figure(days(3), np.array([90.0, 120.0, 60.0]), None, 100.0)
    assert unpacked(drawn["data"][-1]["y"]) == pytest.approx([-0.1, 0.0, -0.5])


def test_buy_and_hold_by_hand() -> None:
    """Half in A (10 → 20 → 15) and half in B, which starts a day later at 4 and ends at 8."""
    span = days(3)
    prices = pd.DataFrame(
        {
            "symbol": ["A", "A", "A", "B", "B"],
            "ts": [*span, *span[1:]],
            "close": [10.0, 20.0, 15.0, 4.0, 8.0],
        }
    )
    assert buy_and_hold(prices, span, 100.0).tolist() == [100.0, 150.0, 175.0]


def test_monthly_returns_by_hand() -> None:
    """110 at January's end, 99 in March (none in February), 198 in the next year's January."""
    ts = pd.DatetimeIndex(["2020-01-15", "2020-01-31", "2020-03-31", "2021-01-31"], tz="UTC")
    table = monthly_returns(pd.Series([105.0, 110.0, 99.0, 198.0], index=ts), 100.0)
    assert table.loc[2020].dropna().round(12).to_dict() == {1: 0.1, 3: -0.1, "year": -0.01}
    assert table.loc[2021].dropna().round(12).to_dict() == {1: 1.0, "year": 1.0}


def test_thinning_keeps_the_shape() -> None:
    """The ends, the spike and the dip survive, in order and within the limit."""
    values = np.sin(np.linspace(0, 20, 10_000))
    values[1_234], values[5_678] = 9.0, -9.0
    kept = thin(values, 100)
    assert len(kept) <= 100
    assert np.all(np.diff(kept) > 0)
    assert {0, 1_234, 5_678, 9_999} <= set(kept.tolist())
    assert thin(values[:50], 100).tolist() == list(range(50))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (text.number(-1234.5), "\N{MINUS SIGN}1,234.50"),
        (text.number(-0.001), "0.00"),
        (text.number(np.int64(7), 0), "7"),
        (text.number(float("nan")), text.NONE),
        (text.signed(5), "+5.00"),
        (text.signed_percent(0.125), "+12.50 %"),
        (text.percent(None), text.NONE),
        (text.price(24.3), "24.30"),
        (text.price(0.12345), "0.12345"),
        (text.quantity(1_500.0), "1,500"),
        (text.moment("2021-03-31T00:00:00Z"), "2021-03-31"),
        (text.moment("2021-03-31T14:30:00Z"), "2021-03-31 14:30"),
        (text.days(2.5), "2.5 days"),
        (text.days(0.25), "6.0 hours"),
        (text.days(0.01), "14.4 minutes"),
    ],
)
def test_texts(shown: str, expected: str) -> None:
    """Numbers and times read as a person would write them."""
    assert shown == expected


def test_settings_are_flattened() -> None:
    """Nested settings become dotted names, lists are joined."""
    nested = {"a": {"b": 1, "c": {"d": None}}, "symbols": ["X", "Y"]}
    expected = [("a.b", "1"), ("a.c.d", text.NONE), ("symbols", "X, Y")]
    assert list(text.flatten(nested)) == expected


def test_trades_frame_in_currency_units() -> None:
    """Cents become units, codes become names, microseconds become times."""
    row = trades_frame(match_fills(round_trips(1))[0], ["AAPL"]).iloc[0]
    assert (row["symbol"], row["side"], row["pnl"], row["return"]) == ("AAPL", "long", 1.0, 0.1)
    assert (row["exit_ts"], row["held"]) == (
        pd.Timestamp("1970-01-02", tz="UTC"),
        pd.Timedelta("1D"),
    )


def test_unwritable_path_leaves_nothing(tmp_path: Path) -> None:
    """A path that cannot be written is one clear error, and no file is left behind."""
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html cannot be written: .*; name a file"):
        render(report(), tmp_path / "report.html")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_replaces_an_older_report(tmp_path: Path) -> None:
    """An older report is replaced whole, without a temporary file left."""
    target = tmp_path / "report.html"
    target.write_text("old")
    assert render(report(), str(target)) == target
    assert target.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("module", ["jinja2", "plotly.offline"])
def test_missing_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Without the extra the error has the command that installs it, and nothing is written."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExtraMissing, match=r'pip install "streambt-spark\[report\]"'):
        page.render(report(), tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []
