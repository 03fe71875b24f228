"""Whom a saved model was trained on, and where a new patient lies among them."""

import numpy as np
import pandas as pd

from ..cells import NUMBER, as_numbers, as_text, listing
from ..columns import check_cohort
from ..errors import CohortError
from .describing import SHARES, hashed, measured, voxel_size

__all__ = ["TrainingCohort"]

_RARE = 5  # patients


class TrainingCohort:
    """Whom a saved model was trained on.

    Parameters
    ----------
    about : dict
        As `describe` makes it.

    Attributes
    ----------
    n_patients : int
    name : str or None
    simulated : bool
    columns : DataFrame
        One row per described column: whether the model uses it, missing values, and the range,
        quartiles and middle 95 % of numbers, or the categories with their numbers of patients.

    Examples
    --------
    >>> import pandas as pd
    >>> from prognosis import logistic_ladder
    >>> from prognosis.saving.describing import describe
    >>> X = pd.DataFrame({"age": [50, 60, 70, 80], "sex": ["F", "M", "F", "M"]})
    >>> y = pd.Series([0, 1, 0, 1])
    >>> model = logistic_ladder([["age", "sex"]])["age + sex"].fit(X, y)
    >>> cohort = TrainingCohort(describe(model, X, y))
    >>> new = pd.DataFrame({"age": [97], "sex": [None]}, index=["sub-new"])
    >>> for remark in cohort.remarks(new).loc["sub-new"]:
    ...     print(remark)
    age 97 is above that of all 4 training patients (50 to 80)
    sex is missing, as in none of the 4 training patients
    """

    def __init__(self, about):
        try:
            self.n_patients, self.name = int(about["n_patients"]), about["name"]
            self.simulated, self.used = bool(about["simulated"]), set(about["used"])
            self.outcome, self._columns = about["outcome"], dict(about["columns"])
            self._images, self._places = dict(about["images"]), dict(about["places"])
            self._salt, self._ids = str(about["salt"]), set(about["ids"])
            _check_description(self)
        except (KeyError, TypeError, ValueError) as error:
            raise CohortError(
                f"the description of the training patients is not whole ({error!r}); save the "
                "model again, with its training patients"
            ) from error

    @property
    def columns(self):
        rows = {}
        for name, found in self._columns.items():
            row = {"used": name in self.used, "missing": found["missing"]}
            if found["kind"] == NUMBER:
                low, q1, median, q3, high = found["shares"]
                row |= {"lowest": found["min"], "q1": q1, "median": median, "q3": q3}
                row |= {"highest": found["max"], "middle": f"{low:.4g} to {high:.4g}"}
            else:
                row["categories"] = _counted(found["levels"])
            rows[name] = row
        return pd.DataFrame.from_dict(rows, orient="index")

    def __repr__(self):
        simulated = ", SIMULATED" if self.simulated else ""
        name = "" if self.name is None else f" ({self.name}{simulated})"
        return f"TrainingCohort: {self.n_patients} patients{name}, {len(self._columns)} columns"

    def remarks(self, X, model=None):
        """Where patients leave what the model has seen.

        Parameters
        ----------
        X : DataFrame
            New patients.
        model : fitted estimator, default=None
            The loaded model; with it, what it measures in their images is compared, too: size and
            number of lesions, regions that are hit.

        Returns
        -------
        Series of tuple of str
            One sentence for each remark; nothing where a patient is like those of the training.
        """
        check_cohort(X)
        table = self._with_measured(X, model)
        found = [[] for _ in range(len(table))]
        for number, row in enumerate(table.index):
            if hashed(self._salt, row) in self._ids:
                found[number].append(
                    "was a training patient (or has the id of one): the prediction is flattered"
                )
        for name, about in self._columns.items():
            if name in table.columns:
                for number, text in self._of_column(name, about, table[name]):
                    unused = "; the model ignores it" if self._ignores(name) else ""
                    found[number].append(text + unused)
        self._add_places(table, found)
        self._add_images(X, found)
        return pd.Series([tuple(each) for each in found], table.index, name="remarks", dtype=object)

    def typical(self, name):
        """The median of a column of numbers, the most frequent category of another; or None."""
        about = self._columns.get(name)
        if about is None:
            return None
        if about["kind"] == NUMBER:
            return about["shares"][len(SHARES) // 2]
        return max(about["levels"], key=about["levels"].get, default=None)

    def ranks(self, X, model=None):
        """Position of each value among the training patients, DataFrame of shares from 0 to 1.

        0.5 is the median; interpolated between the kept quantiles, of columns of numbers that the
        model uses.
        """
        table = self._with_measured(X, model)
        ranks = pd.DataFrame(index=table.index)
        for name, about in self._columns.items():
            if about["kind"] == NUMBER and name in self.used and name in table.columns:
                marks = [about["min"], *about["shares"], about["max"]]
                values = as_numbers(table[name]).to_numpy(dtype=float)
                if None not in marks:
                    ranks[name] = np.interp(values, marks, [0, *SHARES, 1])
        return ranks

    def _with_measured(self, X, model):
        """A table, with columns that the model ignores and those that it measures."""
        if model is None:
            return X
        table, _ = measured(model, X)
        others = [name for name in X.columns if name not in table.columns]
        return table.join(X[others])

    def _ignores(self, name):
        return bool(self.used) and name not in self.used

    def _of_column(self, name, about, column):
        n = self.n_patients
        missing = column.isna().to_numpy()
        for number in [] if self._ignores(name) else np.flatnonzero(missing):
            count = about["missing"]
            among = f"in {count}" if count else "in none"
            yield int(number), f"{name} is missing, as {among} of the {n} training patients"
        if about["kind"] == NUMBER:
            yield from self._of_numbers(name, about, as_numbers(column).to_numpy(dtype=float))
            return
        levels = about["levels"]
        for number, cell in enumerate(as_text(column)):
            if missing[number]:
                continue
            if cell not in levels:
                yield (
                    number,
                    f"{name} is {cell!r}, which no training patient had ({_counted(levels)})",
                )
            elif levels[cell] < _RARE:
                yield number, f"{name} is {cell!r}, as in only {levels[cell]} training patients"

    def _of_numbers(self, name, about, values):
        low, high = about["min"], about["max"]
        if low is None:
            return
        first, last = about["shares"][0], about["shares"][-1]
        for number, value in enumerate(values):
            if np.isnan(value):
                continue
            text = f"{name} {value:.4g} is"
            if value < low or value > high:
                where = "below" if value < low else "above"
                yield (
                    number,
                    f"{text} {where} that of all {self.n_patients} training patients "
                    f"({low:.4g} to {high:.4g})",
                )
            elif value < first or value > last:
                yield (
                    number,
                    f"{text} unusual: 95 % of the training patients lie from {first:.4g} to "
                    f"{last:.4g}",
                )

    def _add_places(self, table, found):
        names = [name for name in self._places if name in table.columns]
        for number in range(len(table)):
            loads = table.iloc[number]
            new = [n for n in names if loads[n] > 0 and not self._places[n]["n"]]
            more = [
                n
                for n in names
                if self._places[n]["n"] and loads[n] > 1.25 * self._places[n]["max"] + 0.01
            ]
            if new:
                found[number].append(
                    f"the lesion reaches {self._regions(new)}, where no training patient had one"
                )
            if more:
                found[number].append(
                    f"more of {self._regions(more)} is lesioned than in any training patient"
                )

    def _regions(self, names):
        return listing([self._places[name]["region"] for name in names])

    def _add_images(self, X, found):
        for name, known in self._images.items():
            if name not in X.columns or not known:
                continue
            for number, cell in enumerate(X[name]):
                size = voxel_size(cell)
                if size is not None and size not in known:
                    usual = max(known, key=known.get)
                    found[number].append(
                        f"{name} has voxels of {size} mm, as no training patient had (most: "
                        f"{usual}): another scanner or protocol"
                    )


def _check_description(cohort):
    """Refuse columns, images and places that are not described as `describe` does it."""
    for name, found in cohort._columns.items():
        count = found["missing"]
        if not isinstance(name, str) or not 0 <= count <= cohort.n_patients:
            raise ValueError(f"column {name!r} has {count!r} missing values")
        if found["kind"] == NUMBER:
            marks = [found["min"], *found["shares"], found["max"]]
            numbers = [mark for mark in marks if isinstance(mark, (int, float))]
            if len(marks) != len(SHARES) + 2 or len(numbers) not in (0, len(marks)):
                raise ValueError(f"column {name!r} has other marks than {len(SHARES) + 2} numbers")
        elif not all(isinstance(n, int) for n in dict(found["levels"]).values()):
            raise ValueError(f"column {name!r} has no numbers of patients")
    for known in cohort._images.values():
        if not all(isinstance(n, int) for n in dict(known).values()):
            raise ValueError("voxels of images have no numbers of patients")
    for name, place in cohort._places.items():
        if not place["n"] >= 0 or not place["max"] >= 0 or not isinstance(place["region"], str):
            raise ValueError(f"place {name!r} is not described")


def _counted(levels):
    return ", ".join(f"{level}: {n}" for level, n in levels.items())
