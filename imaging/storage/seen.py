"""Which real scans a network has learnt from, so that a score on one of them is not believed.

Scans are known by a fingerprint of their voxels; it goes into the model card and from there into
every network that is trained further.
"""

import hashlib
import warnings
from typing import NamedTuple

import numpy as np

__all__ = ["SeenScans", "fingerprint", "warn_of_seen"]

# How the `training_data` of a card begins that has no real scan in it.
_SYNTHETIC = "synthetic scans only"


class SeenScans(NamedTuple):
    """The real scans that a network was trained or chosen on.

    Parameters
    ----------
    fingerprints : tuple of str
        Sorted.
    others : bool
        Whether there were, or may have been, others that no card names.
    """

    fingerprints: tuple = ()
    others: bool = False

    @classmethod
    def of_card(cls, card):
        """What a model card says.

        Examples
        --------
        >>> SeenScans.of_card({"training_data": "synthetic scans only: 14 heads"})
        SeenScans(fingerprints=(), others=False)
        >>> SeenScans.of_card({"training_data": "our stroke unit"})
        SeenScans(fingerprints=(), others=True)
        """
        if "trained_on" in card:
            return cls(tuple(card["trained_on"]), card.get("trained_on_others", False))
        return cls(others=not card["training_data"].strip().lower().startswith(_SYNTHETIC))

    def and_also(self, fingerprints):
        """These and more."""
        return self._replace(fingerprints=tuple(sorted({*self.fingerprints, *fingerprints})))

    def as_card(self):
        """Entries of a model card."""
        return {
            "trained_on": list(self.fingerprints),
            **({"trained_on_others": True} if self.others else {}),
        }


def fingerprint(voxels):
    """A short text that is equal for equal voxels: 16 hexadecimal digits.

    Parameters
    ----------
    voxels : ndarray
        In canonical orientation.

    Examples
    --------
    >>> fingerprint(np.zeros((2, 3))), fingerprint(np.zeros((3, 2)))
    ('...', '...')
    """
    voxels = np.ascontiguousarray(voxels, dtype=np.float32) + 0.0  # -0 is 0
    digest = hashlib.blake2b(repr(voxels.shape).encode(), digest_size=8)
    digest.update(voxels.tobytes())
    return digest.hexdigest()


def warn_of_seen(seen, scored):
    """Warn where a score is flattered, or may be.

    Parameters
    ----------
    seen : SeenScans
    scored : list of (list of str)
        Fingerprints of the sequences of each scan that was scored.
    """
    known = set(seen.fingerprints)
    numbers = [str(number) for number, prints in enumerate(scored) if known.intersection(prints)]
    if numbers:
        named = f"{'scan' if len(numbers) == 1 else 'scans'} {', '.join(numbers)}"
        warnings.warn(
            f"this segmenter, or the model its training began with, was trained on {named} of "
            "those scored: the score flatters it; score scans that it has not seen",
            stacklevel=3,
        )
    elif seen.others and scored:
        warnings.warn(
            "the card of the model that this segmenter began with does not name the real scans it "
            "was trained on, so it may have seen those scored, which would flatter the score; "
            "begin with a model whose training is known",
            stacklevel=3,
        )
