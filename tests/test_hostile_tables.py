"""Tables that would give a patient what is another's: read as they stand, or refused by line."""

import warnings

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from prognosis import CohortError, TabularEncoder, compare, linear_ladder, load_cohort, load_soop
from prognosis.pages import csv_text

ROWS = "participant_id\tage\tnote\tout\nsub-1\t60\ta\t1\nsub-2\t70\tb\t2\nsub-3\t80\tc\t3\n"


def load(folder, text, images=(), *, scans=(), target="out", encoding="utf-8"):
    path = folder / "participants.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    for scan in scans:
        (folder / scan).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), folder / scan)
    return load_cohort(path, dict(images), target=target)


# ------------------------------------------------------------------- cells


def test_a_quotation_mark_swallows_no_rows(tmp_path):
    text = ROWS.replace("\ta\t", '\t"a\t').replace("\tc\t", '\tc"\t')
    with pytest.warns(UserWarning, match="line 2, column 'note': .*read as they stand") as said:
        X, y = load(tmp_path, text)
    assert X["note"].tolist() == ['"a', "b", 'c"'] and y.tolist() == [1, 2, 3]
    assert len(said) == 1 and said[0].filename == __file__
    with pytest.raises(CohortError, match="in quotation marks, as are 3 of 3 cells"):
        load(tmp_path, '"participant_id"\t"out"\n'.replace('"', "") + '"1"\t1\n"2"\t2\n"3"\t3\n')


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_that_say_what_they_are(encoding, newline, tmp_path):
    text = ROWS.replace("\tb\t", "\tKöln \u2028\t").replace("\n", newline)
    X, y = load(tmp_path, text, encoding=encoding)
    assert X.loc["sub-2", "note"] == "Köln \u2028" and y.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ROWS.replace("\tb\t", "\tKöln\t").encode("latin-1"), "line 3, is no UTF-8; save it as"),
        (ROWS.encode("utf-16-le"), "line 1 holds a zero byte"),
        (ROWS.replace("sub-2\t", ""), "line 3 has 3 cells for 4 columns"),
        (ROWS.replace("\tb\t", "\tb\tb\t"), "line 3 has 5 cells for 4 columns"),
        (ROWS.replace("\tnote", "\tage"), "more than one column 'age'"),
        (ROWS.replace("\tnote", "\t"), "column 3 has no name"),
        (ROWS.replace("sub-2", "  "), "no participant_id in line 3"),
        (ROWS.replace("sub-2", "sub-1 "), "lists sub-1 more than once"),
        (ROWS.replace("sub-2", "1"), "line 3: '1' and 'sub-1' name the same files"),
        (ROWS.replace("sub-2", "../2"), "line 3: the participant_id '../2' cannot be"),
        (ROWS.replace("\t2\n", "\t1e20\n"), "line 3, .*'out': found '1e[+]20' where a finite"),
        (ROWS.replace("\t2\n", "\tinf\n"), "line 3, row 'sub-2', column 'out': found 'inf'"),
        (
            ROWS + "".join(f"s{k}\t1\tx\t{k}\n" for k in range(4, 9)) + "s9\t1\tx\t6+\n",
            "line 10, row 's9', column 'out': found '6[+]' among numbers",
        ),
    ],
)
def test_what_is_odd_is_named_by_its_line(text, words, tmp_path):
    with pytest.raises(CohortError, match=words):
        load(tmp_path, text)


def test_tabs_at_the_ends_of_lines_are_no_column(tmp_path):
    X, _ = load(tmp_path, ROWS.replace("\n", "\t\t\n"))
    assert X.columns.tolist() == ["age", "note"]


# ------------------------------------------------------------------- whose scan is it


@pytest.mark.parametrize(
    "scans",
    [
        ["visit_1/2_T1w.nii"],
        ["T1w/2_run_1_T1w.nii"],
        ["1/2_T1w.nii"],
        ["1/sub-2_T1w.nii"],
        ["sub-1/sub-2_T1w.nii"],
    ],
)
def test_no_patient_gets_the_scan_of_another(scans, tmp_path):
    """Patient 2 is not in the table, and 1 is no part of the name of his scan that means him."""
    with pytest.raises(CohortError, match="1 of 1 patients lack a usable scan"):
        load(tmp_path, "participant_id\tout\n1\t5\n", {"t1w": "**/*_T1w.nii"}.items(), scans=scans)


def test_ids_are_found_where_they_mean_the_patient(tmp_path):
    scans = ["visit_1/1_T1w.nii", "visit_1/2_T1w.nii", "3/anat/T1w.nii", "x/sub-4_ses-1_T1w.nii"]
    text = "participant_id\tout\n1\t1\n2\t2\n3\t3\n4\t4\n"
    X, _ = load(tmp_path, text, {"t1w": "**/*T1w.nii"}.items(), scans=scans)
    assert X["t1w"].tolist() == [str(tmp_path / scan) for scan in scans]


def test_those_without_an_outcome_keep_their_scans(tmp_path):
    text, scans = "participant_id\tout\nA2\t1\nsub-7\tn/a\n", ["A2/7_T1w.nii", "x/A2_T1w.nii"]
    with pytest.warns(UserWarning, match="1 of 2 patients are left out"):
        X, _ = load(tmp_path, text, {"t1w": "**/*.nii"}.items(), scans=scans)
    assert X["t1w"].tolist() == [str(tmp_path / "x" / "A2_T1w.nii")]


def test_a_large_number_makes_no_text_of_what_is_missing(tmp_path):
    text = ROWS.replace("\ta\t", "\t" + "9" * 30 + "\t").replace("\tb\t", "\tN/A\t")
    X, _ = load(tmp_path, text.replace("\tc\t", "\t-3\t"))
    assert X["note"].iloc[0] == 1e30 and np.isnan(X["note"].iloc[1]) and X["note"].iloc[2] == -3


def test_a_file_that_names_two_patients_is_nobodys(tmp_path):
    text = "participant_id\tout\n1\t1\n2\t2\n"
    with pytest.raises(CohortError, match=r"name several patients, .*1/2_T1w.nii.*nobody"):
        load(tmp_path, text, {"t1w": "*/*_T1w.nii"}.items(), scans=["1/2_T1w.nii"])


@pytest.mark.parametrize("pattern", ["", " ", "/etc/*", "~/*", "**x", "a\0b", ".", 3, None])
def test_patterns_that_find_nothing_below_a_folder(pattern, tmp_path):
    with pytest.raises(CohortError, match="give a pattern relative to the folder"):
        load(tmp_path, ROWS, {"t1w": pattern}.items())


# ------------------------------------------------------------------- values


@pytest.mark.parametrize("value", [1e300, np.inf, -1e16])
def test_outcomes_that_nobody_can_predict(value):
    X = pd.DataFrame({"age": np.arange(20.0)}, index=[f"p{k}" for k in range(20)])
    y = pd.Series(np.r_[[value], np.arange(19.0)], X.index)
    ladder = linear_ladder([["age"]])
    with pytest.raises(CohortError, match="row 'p0', y: the outcome is"):
        ladder["age"].fit(X, y)
    with pytest.raises(CohortError, match="outcome"):
        compare(ladder, X, y, cv=2)
    with pytest.raises(CohortError, match="row 'p0', column 'age': found"):
        TabularEncoder(["age"]).fit(X.assign(age=y * 1e20))


def test_paths_of_images_are_no_categories():
    paths = pd.DataFrame({"t1w": ["/a/1_T1w.nii.gz", "/a/2_T1w.nii.gz", None]}, index=list("abc"))
    with pytest.raises(CohortError, match=r"row 'a', column 't1w': .* declare .* as image='t1w'"):
        TabularEncoder(["t1w"]).fit(paths)


def test_no_text_is_taken_for_a_formula():
    index = pd.Index(["=1+1", "@x", "-5", "sub-1", "+cmd|' /C calc'!A0"], name="patient")
    table = pd.DataFrame({"=h": ["\t=a", "b", "-1.5e3", "-x", None], "n": [-1, 2, 3, 4, 5]}, index)
    found = csv_text(table).splitlines()
    assert found[0] == "patient,'=h,n"
    assert found[1:3] == ["'=1+1,'\t=a,-1", "'@x,b,2"]
    assert found[3:] == ["-5,-1.5e3,3", "sub-1,'-x,4", "'+cmd|' /C calc'!A0,,5"]
    assert table.index[0] == "=1+1" and table.columns[0] == "=h"


# ------------------------------------------------------------------- the public cohort

SOOP = "participant_id\tsex\tage\trace\tpriorstroke\tbmi\tnihss\tgs_rankin_6isdeath\n"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("sub-1\tF\t60\tw\t0\t25\t3\t2\n" * 2, "lists sub-1 more than once"),
        ("sub-1\tF\t60\tw\t0\t25\t3\t3.5\n", "line 2, row 'sub-1', column 'gs_rankin_6isdeath'"),
        ("sub-1\tF\t60\tw\t0\t25\t43\t3\n", "column 'nihss': found '43' where a whole number"),
        ("sub-1\tF\t120+\tw\t0\t25\t3\t3\n", "line 2, column 'age': found '120[+]'"),
        ("../../x\tF\t60\tw\t0\t25\t3\t2\n", "the participant_id '../../x' cannot be"),
        ("..\tF\t60\tw\t0\t25\t3\t2\n", "the participant_id '..' cannot be"),
        ("=x\tF\t60\tw\t0\t25\t3\t2\n", "the participant_id '=x' is none of this cohort"),
    ],
)
def test_the_table_of_the_public_cohort_is_not_believed(rows, words, tmp_path):
    (tmp_path / "soop" / "Scripts").mkdir(parents=True)
    (tmp_path / "soop" / "Scripts" / "participants.tsv").write_text(SOOP + rows)
    with pytest.raises(CohortError, match=words):
        load_soop(tmp_path, cache=tmp_path / "cache")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["soop"]
    (tmp_path / "soop" / "Scripts" / "participants.tsv").write_text("participant_id\tage\n1\t2\n")
    with pytest.raises(CohortError, match="has no column 'gs_rankin_6isdeath'"):
        load_soop(tmp_path, cache=tmp_path / "cache")


def test_nothing_is_said_of_usual_tables(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        X, y = load(tmp_path, ROWS)
    assert y.dtype == np.int64 and list(X.attrs) == ["cohort"] and not y.attrs
