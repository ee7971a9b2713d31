"""Types of NumPy arrays, as the columns of a batch have them."""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]
NEVER = np.iinfo(np.int64).min // 4  # a time before all others that still survives a subtraction
