"""Sums over people of bounded values; with a budget `epsilon` they carry Laplace noise (Dwork et al. 2006), drawn by OpenDP.

Each person adds a bounded amount: a count of 1, and values in [0, 1] or [-1, 1]. To add or to remove one person therefore changes the
list of sums by at most its sensitivity s in the L1 norm, and noise of scale s / epsilon hides that change by a factor of exp(epsilon).
"""

import numpy as np

from brainldm.core.errors import ConfigError


def private_sums(values: np.ndarray, sensitivity: float, epsilon: float | None) -> np.ndarray:
    """Return the sums over N people of values [N, D]; float64 [D].

    `sensitivity` bounds the L1 norm of each person's values. With `epsilon` the noise comes from the operating system, so that each call
    gives other sums and spends `epsilon`. ConfigError if OpenDP is not installed.
    """
    sums = values.sum(axis=0)
    if epsilon is None:
        return np.asarray(sums)
    try:
        import opendp.prelude as dp
    except ImportError:
        raise ConfigError("covariate_model.epsilon needs OpenDP, which is not installed. Run: pip install 'brainldm[privacy]'") from None
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T=float, nan=False)), dp.l1_distance(T=float)
    mechanism = space >> dp.m.then_laplace(sensitivity / epsilon)
    return np.array(mechanism(sums.tolist()))
