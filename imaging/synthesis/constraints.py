"""What a parameter may be, by scikit-learn's own mechanism, for things that are no estimators too.

A class lists its constraints in `_parameter_constraints`; `check_parameters` refuses everything
else in one sentence that names the class, the parameter, its range and what was found.
"""

from numbers import Integral, Real

from sklearn.utils._param_validation import (
    Interval,
    Options,
    StrOptions,
    make_constraint,
    validate_parameter_constraints,
)

__all__ = [
    "CHANCE",
    "COUNT",
    "NOT_NEGATIVE",
    "POSITIVE",
    "Each",
    "Interval",
    "Ordered",
    "StrOptions",
    "check_parameters",
]

CHANCE = Interval(Real, 0, 1, closed="both")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
COUNT = Interval(Integral, 1, None, closed="left")


# scikit-learn takes no constraints but of its own kinds, so these are of one of them.
class Each(Options):
    """A sequence all of whose members satisfy one constraint.

    Parameters
    ----------
    member : constraint or type
    least : int
        Fewest members.
    """

    def __init__(self, member=object, *, least=1):
        super().__init__(object, set())
        self.anything = member is object
        self.member = make_constraint(member)
        self.least = least

    def is_satisfied_by(self, val):
        """Whether `val` is such a sequence."""
        return (
            hasattr(val, "__len__")
            and hasattr(val, "__getitem__")
            and not isinstance(val, (str, bytes, dict))
            and len(val) >= self.least
            and all(self.member.is_satisfied_by(one) for one in val)
        )

    def __str__(self):
        text = f"a sequence of {self.least} or more"
        return text if self.anything else f"{text}, each {self.member}"


class Ordered(Each):
    """Two numbers, the lower one first, that satisfy one constraint."""

    def __init__(self, member):
        super().__init__(member, least=2)

    def is_satisfied_by(self, val):
        """Whether `val` is such a pair."""
        return super().is_satisfied_by(val) and len(val) == 2 and val[0] <= val[1]

    def __str__(self):
        return f"a pair (lowest, highest), each {self.member}"


def check_parameters(thing):
    """Refuse attributes that the constraints of a class and of its bases do not allow.

    Parameters
    ----------
    thing : object
        Its attributes have the names of its parameters.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> from imaging.synthesis import Gamma
    >>> Gamma(sd=-1)
    Traceback (most recent call last):
        ...
    sklearn.utils._param_validation.InvalidParameterError: The 'sd' parameter of Gamma must be a
    float in the range [0.0, inf). Got -1 instead.
    """
    constraints = {}
    for cls in reversed(type(thing).__mro__):
        constraints |= vars(cls).get("_parameter_constraints", {})
    validate_parameter_constraints(constraints, vars(thing), type(thing).__name__)
