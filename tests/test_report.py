"""The report: one honest, self-contained page that a browser opens without a complaint."""

import html
import itertools
import os
import re
import shutil
import socket
import subprocess
import threading
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline

from prognosis import compare, linear_ladder, logistic_ladder
from prognosis.columns import TabularEncoder
from prognosis.evaluation.reporting.drawing import Axis, nice_ticks
from prognosis.evaluation.reporting.report import render_report

NUMERIC = ["lesion_ml", "nihss"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(0)
    n = 150
    X = pd.DataFrame(
        {"lesion_ml": rng.gamma(2, 20, n), "nihss": rng.integers(0, 25, n).astype(float)},
        index=[f"p{i}" for i in range(n)],
    )
    mrs = (X["nihss"] / 5 + X["lesion_ml"] / 30 + rng.normal(0, 1, n)).rename("mrs")
    return X, mrs


def run(cohort, *, simulated=True, models=None, outcome=None, cv="4x2"):
    X, mrs = cohort
    X = X.copy()
    X.attrs["cohort"] = {
        "name": "Stand-in <b>& co</b>",
        "simulated": simulated,
        "best_accuracy": 0.9 if simulated else None,
        "description": "Drawn for a test.",
        "image_columns": ["t1w", "lesion"],
    }
    if outcome is None:
        outcome = (mrs > mrs.median()).map({True: "poor", False: "good"}).rename("outcome")
    if models is None:
        models = logistic_ladder([["lesion_ml"], NUMERIC])
    return compare(models, X, outcome, cv=cv, random_state=0)


@pytest.fixture(scope="module")
def result(cohort):
    return run(cohort)


@pytest.fixture(scope="module")
def page(result):
    return render_report(result)


class Outline(HTMLParser):
    """Checks that elements are closed in order; collects what accessibility needs."""

    VOID = frozenset({"meta", "link", "br", "img", "hr", "input"})

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outline(page):
    parser = Outline()
    parser.feed(page)
    assert parser.open == []
    return parser


class TestPage:
    def test_is_well_formed_and_accessible(self, page):
        found = outline(page)
        assert len(set(found.ids)) == len(found.ids)
        tags = [tag for tag, _ in found.seen]
        assert ("html", {"lang": "en"}) in found.seen
        assert tags.count("h1") == 1
        assert tags.count("caption") == tags.count("table")
        assert tags.count("figcaption") == tags.count("figure") == 4
        # a score and a difference of each of two, folds of two, one curve, two calibrations
        assert tags.count("svg") == 4 + 2 + 1 + 2
        assert all("scope" in attrs for tag, attrs in found.seen if tag == "th")
        for tag, attrs in found.seen:
            if tag == "svg":
                assert attrs["role"] == "img"
                assert set(attrs["aria-labelledby"].split()) <= set(found.ids)

    def test_needs_nothing_from_elsewhere(self, page):
        assert "<script" not in page
        assert "@import" not in page
        assert "url(" not in page
        assert not re.search(r"""(?:src|href)=["'](?!data:|#)""", page)

    def test_numbers_are_those_of_the_table(self, page, result):
        text = html.unescape(page)
        for name, row in result.table.iterrows():
            assert name in text
            for score in ("accuracy", "auc", "brier"):
                assert re.search(rf'<td data-label="[^"]*">{row[score]:.3f}', page)

    def test_simulated_is_said_everywhere(self, page):
        assert page.count("SIMULATED") >= 6
        captions = re.findall(r"<b>(?:Figure|Table) \d\.</b>(.{0,60})", page)
        numbers_of_patients = [c for c in captions if "models as they were given" not in c]
        assert len(numbers_of_patients) >= 6
        assert all("SIMULATED" in caption for caption in numbers_of_patients)

    def test_real_patients_are_not_called_simulated(self, cohort):
        page = render_report(run(cohort, simulated=False))
        assert "simulated" not in page.lower()
        assert "Best accuracy" not in page

    def test_names_are_escaped(self, page):
        assert "Stand-in &lt;b&gt;&amp; co&lt;/b&gt;" in page
        assert "<b>& co" not in page

    def test_says_plainly_when_nothing_is_better(self, cohort):
        models = logistic_ladder([["lesion_ml"]]) | {"coin <toss>": DummyClassifier()}
        page = render_report(run(cohort, models=models))
        outline(page)
        assert "“coin &lt;toss&gt;” does not beat “lesion_ml”." in page

    def test_repeats_seed_versions_and_folds(self, page, result):
        assert "cv = 4x2" in page
        assert f"scikit-learn {result.metadata['versions']['scikit-learn']}" in page
        assert "drawn twice" in page

    def test_table_of_folds(self, page, result):
        rows = (
            page.split("Scores of every fold (repeat.fold).")[1]
            .split("<tbody>")[1]
            .split("</tbody>")[0]
        )
        assert rows.count("<tr>") == 2 * 2 and rows.count("<td>") == 4 * (1 + 8)
        assert f"{result.folds['accuracy'].iloc[0]:.3f}" in rows


class TestKinds:
    def test_regression(self, cohort):
        models = linear_ladder([["lesion_ml"], NUMERIC]) | {"mean": DummyRegressor()}
        page = render_report(run(cohort, models=models, outcome=cohort[1]))
        outline(page)
        assert "Predicted and observed" in page
        assert "DeLong" not in page
        assert "ROC" not in page

    def test_three_classes(self, cohort):
        y = pd.cut(cohort[1], 3, labels=["good", "fair", "poor"]).astype(str)
        page = render_report(run(cohort, outcome=y))
        outline(page)
        assert "Which classes are confused" in page
        assert "calibration-heading" not in page

    def test_one_model(self, cohort):
        page = render_report(run(cohort, models=logistic_ladder([["lesion_ml"]])))
        outline(page)
        assert "nothing to compare it with" in page
        assert "Difference" not in page.split('<h2 id="methods"')[0].split("<body>")[1]

    def test_no_probabilities(self, cohort):
        models = logistic_ladder([["lesion_ml"]])
        models["ridge"] = make_pipeline(TabularEncoder(NUMERIC), RidgeClassifier())
        page = render_report(run(cohort, models=models))
        outline(page)
        assert "nan" not in re.sub(r"<[^>]*>", "", page).lower().split()

    def test_many_models_with_long_names(self, cohort):
        models = {
            f"{name}, version {i} of a model with a very long name": model
            for i in range(4)
            for name, model in logistic_ladder([["lesion_ml"], NUMERIC]).items()
        }
        outline(render_report(run(cohort, models=models)))

    def test_ordinal_with_everything_fits(self, cohort):
        """Nine scores, a scorer and groups: each table apart, cells that say what they are."""
        X, mrs = cohort
        mrs = mrs.clip(0, 6).round().astype(int)
        X = X.assign(hospital=np.where(np.arange(150) % 2, "north", "south"))
        models = logistic_ladder([["lesion_ml"], NUMERIC])
        more = {"cut": 2, "scoring": "f1", "threshold": 0.4, "by": "hospital"}
        found = compare(models, X, mrs, cv=3, random_state=0, **more)
        page = render_report(found)
        seen = outline(page).seen
        assert page.count('<table class="results cards') == 2
        labels = [attrs.get("data-label") for tag, attrs in seen if tag == "td"]
        assert {"Sensitivity", "F1", "Δ F1", "Within", "north", "Missing"} <= set(labels)
        assert "By hospital" in page and "mrs above 2" in page

    def test_who_was_studied(self, page, result):
        text = html.unescape(re.sub("<[^>]*>", " ", page))
        row = result.characteristics.query("variable == 'nihss' and group == 'poor'").iloc[0]
        assert f"{row['mean']:.1f} ± {row['sd']:.1f}" in text
        assert "outcome poor n = 75" in " ".join(text.split())

    def test_axes_keep_their_labels_apart(self, cohort):
        """Tick labels of differences, which have a sign, do not run into each other."""
        page = render_report(run(cohort, cv="5x2"))
        for svg in re.findall("<svg.*?</svg>", page, re.DOTALL):
            ticks = re.findall(
                r'<text class="tick" x="([\d.]+)" y="([\d.]+)" .*?>(.*?)</text>', svg
            )
            lines = {}
            for x, y, text in ticks:
                lines.setdefault(y, []).append((float(x), len(html.unescape(text))))
            for places in lines.values():
                for (x, n), (other, m) in itertools.pairwise(places):
                    assert abs(other - x) > 7 * (n + m) / 2


class TestNotebook:
    def test_a_comparison_shows_itself(self, result):
        piece = result._repr_html_()
        assert "SIMULATED PATIENTS" in piece
        assert piece.count("<table") == 2
        assert f"{result.table['auc'].iloc[1]:.3f}" in piece
        assert all(html.escape(sentence, quote=False) in piece for sentence in result.summary())


class TestWriting:
    def test_makes_folders_and_leaves_nothing_else(self, result, tmp_path):
        path = result.to_html(tmp_path / "a" / "b" / "index.html")
        assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
        assert [p.name for p in path.parent.iterdir()] == ["index.html"]
        assert path.stat().st_mode & 0o777 == 0o644

    def test_a_failure_keeps_the_old_page(self, result, tmp_path, monkeypatch):
        path = tmp_path / "index.html"
        path.write_text("old")

        def full(*_):
            raise OSError("disk full")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="disk full"):
            result.to_html(path)
        assert path.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["index.html"]


class TestDrawing:
    @pytest.mark.parametrize(
        ("low", "high"), [(0, 1), (-0.31, 0.02), (1e-6, 3e-6), (0, 1000), (0.7, 0.71)]
    )
    def test_ticks_are_few_and_inside(self, low, high):
        ticks = nice_ticks(low, high)
        assert 2 <= len(ticks) <= 5
        assert low - 1e-9 <= ticks[0] <= ticks[-1] <= high + 1e-9

    def test_axis(self):
        axis = Axis.around([0.2, np.nan, 0.8], 0, 100, include=[0])
        assert 0 < axis(0) < axis(0.2) < axis(0.8) < 100
        assert axis.labels() == ["0.0", "0.2", "0.4", "0.6", "0.8"]
        assert Axis(-0.1, 0.1, 0, 1, [-0.1, 0, 0.1]).labels(sign=True) == ["−0.1", "0.0", "+0.1"]

    def test_axis_around_nothing_or_one_value(self):
        for values in ([], [np.nan], [0.5, 0.5]):
            axis = Axis.around(values, 0, 100)
            assert axis.low < axis.high
            assert axis.ticks


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
class TestBrowser:
    """Every request goes to a proxy that counts it and answers nothing."""

    @pytest.fixture
    def browse(self, tmp_path):
        asked = []
        server = socket.create_server(("127.0.0.1", 0))

        def listen():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(4096).split(b"\r\n")[0].decode())

        threading.Thread(target=listen, daemon=True).start()

        def open_page(path):
            port = server.getsockname()[1]
            command = [
                CHROMIUM,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                f"--user-data-dir={tmp_path / 'profile'}",
                f"--proxy-server=http://127.0.0.1:{port}",
                "--proxy-bypass-list=<-loopback>",
                "--enable-logging=stderr",
                "--v=0",
                "--virtual-time-budget=2000",
                "--dump-dom",
                path.as_uri(),
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
            # what the browser asks on its own account is about no page
            page_asks = [line for line in asked if "google" not in line and "gvt1" not in line]
            return done.stdout, complaints, page_asks

        yield open_page
        server.close()

    def test_no_complaint_no_request_and_the_table_is_there(self, browse, result, tmp_path):
        dom, complaints, asked = browse(result.to_html(tmp_path / "index.html"))
        assert complaints == []
        assert asked == []
        rows = dom.split('<table class="results cards">')[1].split("</table>")[0]
        for name, row in result.table.iterrows():
            assert name in html.unescape(rows)
            assert f"{row['auc']:.3f}" in rows
        assert dom.count("<svg") == 9

    def test_the_check_itself_notices(self, browse, tmp_path):
        path = tmp_path / "bad.html"
        path.write_text(
            "<html><body><img src='http://example.org/x.png'>"
            "<script>console.error('broken')</script></body></html>"
        )
        _, complaints, asked = browse(path)
        assert any("broken" in line for line in complaints)
        assert any("example.org" in line for line in asked)


def test_one_split_is_called_one_and_shows_no_empty_panel(cohort):
    rows = np.arange(150)
    found = run(cohort, cv=[(rows[:100], rows[100:])])
    page = render_report(found)
    assert "one split (50 patients tested)" in page and "1 folds" not in page
    assert "Fold by fold" not in page
    assert "Δ AUC</text>" in page and "Δ Accuracy</text>" in page  # tested over the 50 patients
    assert "one split (50 patients tested)" in str(found)
