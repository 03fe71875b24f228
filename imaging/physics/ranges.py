"""The distributions that protocols are drawn from: of real scanners, and of published systems.

Each function takes `Draws` and returns the parameters of one sequence, in seconds and degrees.
"""

__all__ = ["RANGES"]

# Spoiling, slice profile and table look-ups leave a scanner's inversion between these bounds.
_EFFICIENCY = (0.9, 0.98)


def _plausible_mprage(draws):
    n = draws.integer(128, 208)
    spacing = draws.uniform(0.0055, 0.0095)
    train = n * spacing
    inversion = draws.uniform(max(0.75, train / 2 + 0.02), max(1.15, train / 2 + 0.15))
    return {
        "repetition_time": draws.uniform(max(1.7, inversion + train / 2 + 0.05), 3.0),
        "inversion_time": inversion,
        "echo_time": draws.uniform(0.3, 0.5) * spacing,
        "flip_angle": draws.uniform(7, 12),
        "n_readouts": n,
        "excitation_spacing": spacing,
        "inversion_efficiency": draws.uniform(*_EFFICIENCY),
    }


def _plausible_mp2rage(draws):
    n = draws.integer(128, 176)
    spacing = draws.uniform(0.0055, 0.0075)
    train = n * spacing
    first = draws.uniform(max(0.65, train / 2 + 0.02), max(0.95, train / 2 + 0.15))
    second = draws.uniform(max(2.0, first + train + 0.05), max(3.0, first + train + 0.3))
    return {
        "repetition_time": draws.uniform(max(4.8, second + train / 2 + 0.1), 6.5),
        "inversion_times": (first, second),
        "echo_time": draws.uniform(0.3, 0.5) * spacing,
        "flip_angles": (draws.uniform(3.5, 7), draws.uniform(3, 6)),
        "n_readouts": n,
        "excitation_spacing": spacing,
        "inversion_efficiency": draws.uniform(*_EFFICIENCY),
    }


def _plausible_gre(draws):
    # From short T1-weighted readouts to the long echoes of T2*-weighted imaging.
    echo = draws.log_uniform(0.002, 0.030)
    return {
        "repetition_time": echo + draws.log_uniform(0.006, 0.7),
        "echo_time": echo,
        "flip_angle": draws.uniform(6, 40),
    }


def _plausible_fse(draws):
    return {"repetition_time": draws.uniform(2, 6), "echo_time": draws.uniform(0.06, 0.12)}


def _plausible_flair(draws):
    # The inversion time that nulls fluid of T1 4.2 s rises with the cycle; sites differ around it.
    cycle = draws.uniform(5, 11)
    slow = (cycle - 5) / 6
    return {
        "repetition_time": cycle,
        "inversion_time": draws.uniform(1.5 + 0.7 * slow, 2.0 + 0.8 * slow),
        "echo_time": draws.uniform(0.08, 0.14),
    }


def _reference_mprage(draws):
    return {
        "repetition_time": draws.uniform(1.9, 2.5),
        "inversion_time": draws.uniform(0.6, 1.2),
        "echo_time": draws.uniform(0.002, 0.004),
        "flip_angle": draws.uniform(5, 12),
        "n_readouts": round(draws.uniform(100, 200)),
        "inversion_efficiency": draws.uniform(0.8, 1.0),
    }


def _segmentation_mprage(draws):
    return {
        "repetition_time": _jittered(draws, 2.3),
        "inversion_time": draws.uniform(0.6, 0.9),
        "echo_time": draws.uniform(0.002, 0.004),
        "flip_angle": draws.uniform(5, 12),
        "n_readouts": round(_jittered(draws, 160)),
        "excitation_spacing": draws.uniform(0.004, 0.008),
        "inversion_efficiency": _jittered(draws, 0.96),
    }


def _reference_mp2rage(draws):
    return {
        "repetition_time": _jittered(draws, 2.3),
        "inversion_times": (draws.uniform(0.6, 0.9), _jittered(draws, 2.2)),
        "echo_time": draws.log_normal(0.0029, 0.5),
        "flip_angles": (draws.uniform(3, 6), draws.uniform(3, 6)),
        "n_readouts": round(_jittered(draws, 160)),
        "excitation_spacing": draws.log_normal(0.0058, 0.5),
        "inversion_efficiency": _jittered(draws, 0.96),
    }


def _reference_spgr(draws):
    return {
        "repetition_time": draws.log_uniform(0.005, 0.8),
        "echo_time": draws.log_uniform(0.002, 0.08),
        "flip_angle": draws.uniform(5, 50),
    }


def _reference_gre(draws):
    return {
        "repetition_time": draws.log_uniform(0.005, 5.0),
        "echo_time": draws.log_uniform(0.002, 0.08),
        "flip_angle": draws.uniform(5, 50),
    }


def _reference_fse(draws):
    return {
        "repetition_time": draws.log_uniform(2, 8),
        "echo_time": draws.log_uniform(0.02, 0.15),
    }


def _segmentation_fse(draws):
    return {
        "repetition_time": draws.log_uniform(0.001, 3),
        "echo_time": draws.log_uniform(0.001, 3),
    }


def _reference_flair(draws):
    return {
        "repetition_time": draws.log_uniform(0.001, 5.0),
        "inversion_time": draws.log_uniform(0.001, 3.0),
        "echo_time": draws.log_normal(0.020, 0.1),
    }


def _jittered(draws, value):
    """A fixed scalar of a published protocol, with its jitter of a tenth."""
    return draws.normal(value, 0.1 * value)


_REFERENCE = {
    "mprage": _reference_mprage,
    "mp2rage": _reference_mp2rage,
    "gre": _reference_gre,
    "spgr": _reference_spgr,
    "fse": _reference_fse,
    "flair": _reference_flair,
}

RANGES = {
    "plausible": {
        "mprage": _plausible_mprage,
        "mp2rage": _plausible_mp2rage,
        "gre": _plausible_gre,
        "spgr": _plausible_gre,
        "fse": _plausible_fse,
        "flair": _plausible_flair,
    },
    "reference": _REFERENCE,
    "reference-segmentation": {
        **_REFERENCE,
        "mprage": _segmentation_mprage,
        "fse": _segmentation_fse,
    },
}
