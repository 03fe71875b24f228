r"""Signal equations of the inversion-prepared gradient echoes MPRAGE and MP2RAGE.

The steady state of Marques et al. (2010): inversion, recovery, one or two trains of readouts,
recovery. Each function checks nothing but reads its times and hands on to `inversion_signals`.
"""

from .arrays import namespace, number
from .inversion_signals import (
    mp2rage_centres,
    mp2rage_constants,
    mp2rage_signal,
    mprage_constants,
    mprage_signal,
)
from .timing import readout_times

__all__ = ["mp2rage", "mp2rage_readouts", "mprage"]


def mprage(
    pd,
    r1,
    r2s,
    *,
    repetition_time=2.3,
    inversion_time=0.9,
    echo_time=None,
    flip_angle=9.0,
    n_readouts=160,
    excitation_spacing=None,
    inversion_efficiency=0.96,
    receive=1.0,
    transmit=1.0,
):
    r"""Magnitude image of an MPRAGE.

    With :math:`E_x, E_p, E_d = e^{-R_1 t}` for the excitation spacing :math:`t_x`, the wait
    :math:`t_p = TI - n t_x / 2` before and :math:`t_d = TR - TI - n t_x / 2` after the readouts,
    :math:`c = \cos\alpha'`, :math:`g = (1 - E_x) / (1 - c E_x)` the level that the readouts drive
    the magnetisation to, :math:`\eta` the inversion efficiency and :math:`m = \lfloor n/2 \rfloor`:

    .. math::
        M &= \frac{1 + E_d \left[ g + (c E_x)^n (1 - E_p - g) - 1 \right]}
                  {1 + \eta \, (c E_x)^n E_p E_d} \\
        s &= g + (c E_x)^{m-1} \left[ 1 - E_p (1 + \eta M) - g \right] \\
        S &= |s \sin\alpha'| \, B_1^- \, PD \, e^{-TE \, R_2^*}

    Parameters
    ----------
    pd : array or tensor, any shape
        Proton density, percent units.
    r1, r2s : array or tensor, shape of `pd`
        Relaxation rates R1 and R2*, 1/s.
    repetition_time : float
        One whole cycle from inversion to inversion, seconds.
    inversion_time : float
        From inversion to the middle of the readouts, seconds.
    echo_time : float or None
        Seconds; None is half the excitation spacing.
    flip_angle : float
        Degrees.
    n_readouts : int
        Excitations in a train.
    excitation_spacing : float or None
        Between excitations, seconds; None is twice the echo time (6 ms where that is None too).
    inversion_efficiency : float
        1 for a perfect inversion.
    receive : float, array or tensor
        B1-, multiplies `pd`.
    transmit : float, array or tensor
        B1+, multiplies `flip_angle`.

    Returns
    -------
    array or tensor, shape of `pd`

    References
    ----------
    Marques et al., NeuroImage 49:1271 (2010), doi 10.1016/j.neuroimage.2009.10.002, one readout
    block.

    Examples
    --------
    >>> round(float(mprage(69.79425, 0.9676176, 22.22746, echo_time=0.0029)), 3)
    2.178
    """
    constants = mprage_constants(
        repetition_time=repetition_time,
        inversion_time=inversion_time,
        echo_time=echo_time,
        flip_angle=flip_angle,
        n_readouts=n_readouts,
        excitation_spacing=excitation_spacing,
        inversion_efficiency=inversion_efficiency,
        receive=receive,
        transmit=transmit,
    )
    return mprage_signal(namespace(pd, r1, r2s), pd, r1, r2s, **constants)


def mp2rage_readouts(
    pd,
    r1,
    r2s,
    *,
    repetition_time=6.25,
    inversion_times=(0.8, 2.2),
    echo_time=None,
    flip_angles=(4.0, 5.0),
    n_readouts=160,
    excitation_spacing=0.0058,
    inversion_efficiency=0.96,
    receive=1.0,
    transmit=1.0,
):
    r"""The two signed images of an MP2RAGE, before they are combined.

    The magnetisation is followed forward from the inversion through both readout trains, which is
    the same steady state as the paper's and loses no digits where little of it is left:

    .. math::
        A &= g_1 + (c_1 E_x)^n (1 - E_p - g_1), \qquad
        B = 1 + E_w (A - 1), \qquad q = (c_1 E_x)^n E_p E_w \\
        M &= \frac{1 + E_d \left[ g_2 + (c_2 E_x)^n (B - g_2) - 1 \right]}
                  {1 + \eta \, q \, (c_2 E_x)^n E_d} \\
        I_1 &= \left\{ g_1 + (c_1 E_x)^{m-1} \left[ 1 - E_p (1 + \eta M) - g_1 \right] \right\}
               \sin\alpha_1 \, B_1^- \, PD \, e^{-TE \, R_2^*} \\
        I_2 &= \left\{ g_2 + (c_2 E_x)^{n-m} \left[ B - \eta M q - g_2 \right] \right\}
               \sin\alpha_2 \, B_1^- \, PD \, e^{-TE \, R_2^*}

    with :math:`g_i = (1 - E_x) / (1 - c_i E_x)` and :math:`E_w` for the wait between the trains.

    Parameters
    ----------
    pd, r1, r2s, receive, transmit
        As in `mprage`.
    repetition_time : float
        One whole cycle, seconds.
    inversion_times : pair of float
        From inversion to the middle of each readout train, seconds.
    echo_time : float or None
        Seconds; None is half the excitation spacing.
    flip_angles : pair of float
        Degrees.
    n_readouts, excitation_spacing, inversion_efficiency
        As in `mprage`.

    Returns
    -------
    first, second : array or tensor, shape of `pd`

    References
    ----------
    Marques et al., NeuroImage 49:1271 (2010), doi 10.1016/j.neuroimage.2009.10.002.

    Examples
    --------
    Fluid is still inverted in the first image and has recovered in the second.

    >>> import numpy as np
    >>> first, second = mp2rage_readouts(np.array([100.0]), np.array([0.25]), np.array([1.0]))
    >>> bool(first[0] < 0 < second[0])
    True
    """
    xp = namespace(pd, r1, r2s)
    constants = mp2rage_constants(
        repetition_time=repetition_time,
        inversion_times=inversion_times,
        echo_time=echo_time,
        flip_angles=flip_angles,
        n_readouts=n_readouts,
        excitation_spacing=excitation_spacing,
        inversion_efficiency=inversion_efficiency,
        transmit=transmit,
    )
    first, second = mp2rage_centres(xp, r1, **constants)
    echo, _ = readout_times(echo_time, excitation_spacing)
    amplitude = xp.exp(r2s * -echo) * pd * number(receive)
    return first * amplitude, second * amplitude


def mp2rage(
    pd,
    r1,
    r2s=None,
    *,
    repetition_time=6.25,
    inversion_times=(0.8, 2.2),
    echo_time=None,
    flip_angles=(4.0, 5.0),
    n_readouts=160,
    excitation_spacing=0.0058,
    inversion_efficiency=0.96,
    receive=1.0,
    transmit=1.0,
    signed=True,
):
    r"""Uniform image of an MP2RAGE, in [-0.5, 0.5].

    .. math:: UNI = \frac{I_1 I_2}{I_1^2 + I_2^2}

    PD, R2* and the receive field cancel in the ratio; only where PD is 0 is the image 0.

    Parameters
    ----------
    pd, r1, r2s, transmit
        As in `mprage`; `r2s` and `receive` are taken for the sake of one signature and have no
        effect.
    repetition_time, inversion_times, echo_time, flip_angles
        As in `mp2rage_readouts`.
    n_readouts, excitation_spacing, inversion_efficiency
        As in `mp2rage_readouts`.
    signed : bool, default=True
        False takes the magnitude of both images first, as some published systems do; the sign,
        and with it half of the contrast, is then lost.

    Returns
    -------
    array or tensor, shape of `pd`

    References
    ----------
    Marques et al., NeuroImage 49:1271 (2010), doi 10.1016/j.neuroimage.2009.10.002.

    Examples
    --------
    >>> round(float(mp2rage(69.79425, 0.9676176)), 3)
    0.146
    """
    constants = mp2rage_constants(
        repetition_time=repetition_time,
        inversion_times=inversion_times,
        echo_time=echo_time,
        flip_angles=flip_angles,
        n_readouts=n_readouts,
        excitation_spacing=excitation_spacing,
        inversion_efficiency=inversion_efficiency,
        transmit=transmit,
    )
    return mp2rage_signal(namespace(pd, r1), pd, r1, signed=signed, **constants)
