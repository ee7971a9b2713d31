"""NumPy array types of the columns of a batch."""

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]
Texts = NDArray[np.object_]  # of str, or None where missing
NEVER = np.iinfo(np.int64).min // 4  # earlier than any time, and far enough from the limit to subtract from
