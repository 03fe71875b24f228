"""Parameters declared once: default, what it may be, and what it means, for whatever has any.

A class decorated with `parameters` declares each as a field by `parameter`; from these come its
``__init__``, which only stores, scikit-learn's checks, and the list in its docstring. Constraints
are scikit-learn's own, and a few more.
"""

import dataclasses
import inspect
from numbers import Integral, Real
from typing import dataclass_transform

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
    "DEEPEST",
    "FROM_ZERO",
    "NOT_NEGATIVE",
    "PATCH",
    "POSITIVE",
    "SHARE",
    "SPACING",
    "Channels",
    "Each",
    "Interval",
    "Ordered",
    "Parametrised",
    "StrOptions",
    "check_parameters",
    "fields_of",
    "marked",
    "parameter",
    "parameters",
    "shown",
]

CHANCE = Interval(Real, 0, 1, closed="both")
SHARE = Interval(Real, 0, 1, closed="left")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
COUNT = Interval(Integral, 1, None, closed="left")
FROM_ZERO = Interval(Integral, 0, None, closed="left")
# Bounds of what is built from a card: no network of images is wider, deeper, or sees more at once.
SPACING = Interval(Real, 0.25, 50, closed="both")  # mm
PATCH = Interval(Integral, 1, 1024, closed="both")
WIDEST, DEEPEST = 4096, 12


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


class Channels(Each):
    """The widths of the levels of a network."""

    def __init__(self):
        super().__init__(Interval(Integral, 1, WIDEST, closed="both"))

    def is_satisfied_by(self, val):
        """Whether `val` is such a sequence, of no more levels than a network has."""
        return super().is_satisfied_by(val) and len(val) <= DEEPEST

    def __str__(self):
        return f"a sequence of 1 to {DEEPEST}, each {self.member}"


class Ordered(Each):
    """Two numbers, the lower one first, that satisfy one constraint."""

    def __init__(self, member):
        super().__init__(member, least=2)

    def is_satisfied_by(self, val):
        """Whether `val` is such a pair."""
        return super().is_satisfied_by(val) and len(val) == 2 and val[0] <= val[1]

    def __str__(self):
        return f"a pair (lowest, highest), each {self.member}"


def parameter(default=dataclasses.MISSING, *allowed, doc="", kind=None, first=False, **about):
    """Declare a parameter of a class that `parameters` decorates.

    Parameters
    ----------
    default : object
        None given: the parameter is required.
    *allowed : constraint
        What it may be, in scikit-learn's terms: types, "boolean", None, `Interval`, `StrOptions`,
        `Each`, ... None at all: whatever comes.
    doc : str
        What it means, for the docstring of the class; without it, it is left out there.
    kind : str
        Its type in the docstring; None takes the annotation.
    first : bool
        May be given by position; all others by name only.
    **about
        What else is to be known of it, see `fields_of`.
    """
    about |= {"allowed": list(allowed), "doc": doc, "kind": kind}
    return dataclasses.field(default=default, kw_only=not first, metadata=about)


@dataclass_transform(kw_only_default=True, field_specifiers=(parameter,))
def parameters(cls):
    """Class decorator: make ``__init__``, constraints and docstring from the declared parameters.

    Parameters of base classes are inherited. A line ``{parameters}`` in the docstring becomes
    their list: those by position, then those of the class itself, then those of its bases.

    Examples
    --------
    >>> @parameters
    ... class Blurred(Parametrised):
    ...     '''Blurs.
    ...
    ...     Parameters
    ...     ----------
    ...     {parameters}
    ...     '''
    ...     width_mm: float = parameter(2.0, POSITIVE, doc="Full width at half maximum.")
    >>> Blurred(), Blurred(width_mm=3)
    (Blurred(), Blurred(width_mm=3))
    >>> Blurred(width_mm=-1)
    Traceback (most recent call last):
        ...
    sklearn.utils._param_validation.InvalidParameterError: The 'width_mm' parameter of Blurred must
    be a float in the range (0.0, inf). Got -1 instead.
    >>> print(Blurred.__doc__)
    Blurs.
    <BLANKLINE>
    Parameters
    ----------
    width_mm : float, default=2.0
        Full width at half maximum.
    """
    cls = dataclasses.dataclass(eq=False, repr=False, kw_only=True)(cls)
    cls._parameter_constraints = {
        name: field.metadata["allowed"]
        for name, field in fields_of(cls).items()
        if field.metadata["allowed"]
    }
    if cls.__doc__:
        cls.__doc__ = _filled(inspect.cleandoc(cls.__doc__), cls)
    return cls


def fields_of(cls):
    """The declared parameters of a class (or of an object of it) by name, as dataclass fields.

    What `parameter` was told of each lies in its ``metadata``.
    """
    found = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return {field.name: field for field in found if "allowed" in field.metadata}


def marked(thing, mark):
    """The values of those parameters of an object that were declared with a mark.

    Parameters
    ----------
    thing : object
        Of a class that `parameters` decorates.
    mark : str
        Name of something that `parameter` was told, and that is not false.

    Returns
    -------
    dict of str to object

    Examples
    --------
    >>> @parameters
    ... class Trained(Parametrised):
    ...     epochs: int = parameter(25, COUNT, training=True)
    ...     image: str = parameter("t1w", str)
    >>> marked(Trained(epochs=3), "training")
    {'epochs': 3}
    """
    return {
        name: getattr(thing, name)
        for name, field in fields_of(thing).items()
        if field.metadata.get(mark)
    }


class Parametrised:
    """Base of what has parameters and is no scikit-learn estimator: checked when it is made."""

    def __post_init__(self):
        check_parameters(self)

    def __repr__(self):
        changed = [
            f"{name}={shown(getattr(self, name))}"
            for name, field in fields_of(self).items()
            if not _same(getattr(self, name), field.default)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"


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


def shown(value, longest=60):
    """A value as a line of code, cut where it is long.

    Examples
    --------
    >>> shown("a"), shown(list(range(100)))
    ('"a"', '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16...')
    """
    if isinstance(value, str) and '"' not in value:
        return f'"{value}"'
    text = " ".join(repr(value).split())
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _same(value, default):
    if value is default:
        return True
    try:
        return type(value) is type(default) and bool(value == default)
    except (TypeError, ValueError):  # arrays and the like
        return False


def _filled(text, cls):
    """A docstring with the parameters in place of the line that stands for them."""
    lines = []
    for line in text.splitlines():
        lines += _listed(cls) if line.strip() == "{parameters}" else [line]
    return "\n".join(lines)


def _listed(cls):
    declared, known = fields_of(cls), set()
    order = [name for name, field in declared.items() if not field.kw_only]
    for base in cls.__mro__:
        own = vars(base).get("__annotations__", {})
        order += [name for name in own if name in declared and name not in order]
    lines = []
    for name in order:
        field = declared[name]
        if field.metadata["doc"] and name not in known:
            lines.append(f"{name} : {_type(field)}{_default(field)}")
            text = inspect.cleandoc(field.metadata["doc"])
            lines += [f"    {line}" if line else "" for line in text.splitlines()]
            known.add(name)
    return lines


def _type(field):
    kind = field.metadata["kind"]
    return getattr(field.type, "__name__", str(field.type)) if kind is None else kind


def _default(field):
    if field.default is dataclasses.MISSING:
        return ""
    default = shown(field.default)
    # As it stands, "kernel_" would be a link to "kernel" in a rendered page.
    return f", default ``{default}``" if default.endswith('_"') else f", default={default}"
