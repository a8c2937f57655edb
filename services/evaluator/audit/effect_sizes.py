"""How far two samples of numbers lie apart, whatever their unit, with an interval."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.evaluator.metrics.confidence import NORMAL_QUANTILE

LARGE: Final = 0.474
SMALL: Final = 0.147
"""Cliff's delta from which a difference is called large, and below which negligible: Romano et al. 2006 (Appropriate
statistics for ordinal level data, annual meeting of the Florida Association of Institutional Research)."""


@dataclass(frozen=True)
class EffectSize:
    """Cliff's delta and its 95 % interval.

    Attributes:
        delta: P(x > y) - P(x < y), -1..1; (delta + 1) / 2 is the area under the ROC curve.
        low: lower end of the interval.
        high: upper end.
    """

    delta: float
    low: float
    high: float

    @property
    def auc(self) -> tuple[float, float, float]:
        """The area under the ROC curve, with its interval."""
        return (self.delta + 1) / 2, (self.low + 1) / 2, (self.high + 1) / 2

    @property
    def least_size(self) -> float:
        """The end of the interval nearer to 0, without sign; 0 where the interval holds 0."""
        return 0.0 if self.low <= 0 <= self.high else min(abs(self.low), abs(self.high))


def cliffs_delta(x: NDArray[np.float64], y: NDArray[np.float64]) -> EffectSize:
    """Cliff's delta of two independent samples (Cliff 1993, doi:10.1037/0033-2909.114.3.494).

    The interval is the asymmetric one of Feng and Cliff 2004 (doi:10.22237/jmasm/1099267560), which stays within
    -1..1. Where no value of one sample reaches the other, the data hold no variance; then the rule of three (Hanley
    and Lippman-Hand 1983, doi:10.1001/jama.1983.03330370053031) bounds the share of either that may still do so.

    Args:
        x: (n,) float64, n >= 2.
        y: (m,) float64, m >= 2.
    """
    ordered_y, ordered_x = np.sort(y), np.sort(x)
    # Dominance of each value over the other sample, -1..1.
    of_x = (np.searchsorted(ordered_y, x, "left") + np.searchsorted(ordered_y, x, "right")) / len(y) - 1
    of_y = (np.searchsorted(ordered_x, y, "left") + np.searchsorted(ordered_x, y, "right")) / len(x) - 1
    delta = float(of_x.mean())
    # Large-sample variance, which is also that of DeLong et al. 1988 (doi:10.2307/2531595) for the ROC area.
    variance = of_x.var(ddof=1) / len(x) + of_y.var(ddof=1) / len(y)
    if abs(delta) >= 1 - 1e-12:
        bound = max(-1.0, 1 - 2 * min(1.0, 3 / min(len(x), len(y))))
        return EffectSize(delta, bound if delta > 0 else -1.0, 1.0 if delta > 0 else -bound)
    z = NORMAL_QUANTILE
    middle = delta - delta**3
    half = z * np.sqrt(variance * ((1 - delta**2) ** 2 + z**2 * variance))
    scale = 1 - delta**2 + z**2 * variance
    return EffectSize(delta, max(-1.0, float((middle - half) / scale)), min(1.0, float((middle + half) / scale)))
