r"""Signal equations of spoiled gradient echoes, with and without magnetisation transfer.

The steady state of Ernst and Anderson; transverse magnetisation is taken to be spoiled wholly.
"""

import math

from .arrays import namespace, number

__all__ = ["flip", "gre", "spgr"]

# Keeps 0/0 (no relaxation and no flip) finite; far below any signal.
_TINY = 1e-30


def gre(
    pd,
    r1,
    r2s,
    *,
    repetition_time=0.025,
    echo_time=0.0025,
    flip_angle=20.0,
    receive=1.0,
    transmit=1.0,
):
    r"""Signal of a spoiled gradient echo.

    .. math::
        S = B_1^- \, PD \, \sin\alpha' \,
            \frac{1 - E_1}{1 - \cos\alpha' \, E_1} \, e^{-TE \, R_2^*},
        \qquad E_1 = e^{-TR \, R_1}, \; \alpha' = B_1^+ \alpha

    Parameters
    ----------
    pd : array or tensor, any shape
        Proton density, percent units.
    r1, r2s : array or tensor, shape of `pd`
        Relaxation rates R1 and R2*, 1/s.
    repetition_time, echo_time : float
        Seconds.
    flip_angle : float
        Degrees.
    receive : float, array or tensor
        B1-, multiplies `pd`.
    transmit : float, array or tensor
        B1+, multiplies `flip_angle`.

    Returns
    -------
    array or tensor, shape of `pd`

    References
    ----------
    Ernst and Anderson, Rev Sci Instrum 37:93 (1966), doi 10.1063/1.1719961.

    Examples
    --------
    >>> round(float(gre(69.79425, 0.9676176, 22.22746)), 3)
    6.521
    """
    xp = namespace(pd, r1, r2s)
    sine, cosine, complement = flip(flip_angle, transmit)
    recovered = -xp.expm1(r1 * -number(repetition_time))
    steady = recovered / (recovered * cosine + (complement + _TINY))
    return steady * sine * xp.exp(r2s * -number(echo_time)) * pd * number(receive)


def spgr(
    pd,
    r1,
    r2s,
    mt=None,
    *,
    repetition_time=0.025,
    echo_time=0.0025,
    flip_angle=20.0,
    receive=1.0,
    transmit=1.0,
):
    r"""Signal of a spoiled gradient echo with magnetisation transfer saturation.

    .. math::
        S = B_1^- \, PD \, \sin\alpha' \,
            \frac{(1 - E_1)(1 - \delta)}{1 - \cos\alpha' \, (1 - \delta) \, E_1} \,
            e^{-TE \, R_2^*}, \qquad \delta = MT / 100

    Parameters
    ----------
    pd, r1, r2s, repetition_time, echo_time, flip_angle, receive, transmit
        As in `gre`.
    mt : array or tensor, shape of `pd`, or None
        MT saturation, percent units (white matter about 1.5). Without it, this is `gre`.

    Returns
    -------
    array or tensor, shape of `pd`

    References
    ----------
    Helms et al., Magn Reson Med 60:1396 (2008), doi 10.1002/mrm.21732.

    Examples
    --------
    >>> round(float(spgr(69.79425, 0.9676176, 22.22746, 1.4996668)), 3)
    5.507
    """
    timing = {
        "repetition_time": repetition_time,
        "echo_time": echo_time,
        "flip_angle": flip_angle,
        "receive": receive,
        "transmit": transmit,
    }
    if mt is None:
        return gre(pd, r1, r2s, **timing)
    xp = namespace(pd, r1, r2s, mt)
    sine, cosine, complement = flip(flip_angle, transmit)
    recovered = -xp.expm1(r1 * -number(repetition_time))
    saturation = mt * 0.01
    # 1 - (1 - saturation) E1, written without taking numbers near 1 from each other.
    lost = recovered + saturation * (1 - recovered)
    steady = recovered * (1 - saturation) / (lost * cosine + (complement + _TINY))
    return steady * sine * xp.exp(r2s * -number(echo_time)) * pd * number(receive)


def flip(flip_angle, transmit):
    """Sine, cosine and 1 - cosine of a flip angle in degrees, times the transmit field.

    1 - cosine comes from the half angle: small angles would lose half its digits otherwise.
    """
    angle = number(flip_angle) * number(transmit) * (math.pi / 180)
    xp = math if isinstance(angle, (int, float)) else namespace(angle)
    complement = 2 * xp.sin(angle / 2) ** 2
    return xp.sin(angle), 1 - complement, complement
