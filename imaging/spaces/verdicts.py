"""What the space check found of one image: a verdict, its reasons in words, and the numbers."""

from dataclasses import asdict, dataclass

__all__ = ["DOUBTFUL", "OK", "WRONG", "SpaceVerdict"]

OK, DOUBTFUL, WRONG = "ok", "doubtful", "wrong"
_ORDER = (OK, DOUBTFUL, WRONG)


@dataclass(frozen=True)
class SpaceVerdict:
    """Whether an image lies in template (MNI) space.

    Attributes
    ----------
    verdict : {"ok", "doubtful", "wrong"}
    kind : {"scan", "mask"}
        As what it was looked at.
    reasons : tuple of str
        Why it is not "ok", the gravest first; each continues a sentence about the image.
    in_view : float
        Share of the template's brain within the field of view.
    moved_mm : tuple of three floats or None
        Of a scan: how far the head lies from the template's, to the right, the front, the top. None
        where no head stands out, and for masks.
    gain : float or None
        Of a scan: how much better the outlines meet once it is moved back, as a share of the
        template's head.
    inside : float or None
        Of a mask that is not empty: share of the lesion within 5 mm of the template's brain.

    Examples
    --------
    >>> SpaceVerdict("wrong", "mask", ("the lesion lies outside of the brain",), 1.0, inside=0.0).ok
    False
    """

    verdict: str
    kind: str
    reasons: tuple
    in_view: float
    moved_mm: tuple | None = None
    gain: float | None = None
    inside: float | None = None

    @classmethod
    def from_findings(cls, kind, findings, in_view, **numbers):
        """The verdict that findings, pairs of (verdict, reason), come to."""
        found = sorted(findings, key=lambda one: -_ORDER.index(one[0]))
        verdict = found[0][0] if found else OK
        reasons = tuple(reason for _, reason in found) if verdict != OK else ()
        return cls(verdict, kind, reasons, round(float(in_view), 3), **numbers)

    @classmethod
    def from_dict(cls, about):
        """As `as_dict` wrote it, also after JSON has made lists of tuples."""
        moved = about["moved_mm"]
        changed = {"reasons": tuple(about["reasons"]), "moved_mm": moved and tuple(moved)}
        return cls(**{**about, **changed})

    def as_dict(self):
        """Plain values by name, ready for JSON."""
        return asdict(self)

    @property
    def ok(self):
        """Whether nothing speaks against template space."""
        return self.verdict == OK

    def __str__(self):
        return f"{self.verdict}: {'; '.join(self.reasons)}" if self.reasons else self.verdict
