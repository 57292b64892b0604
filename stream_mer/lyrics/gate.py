"""The gate in front of the recogniser (pure).

Today it only knows silence: a speech detector is of no use here, as those made for speech throw singing away. A gate
that tells voices from instruments implements the same Protocol, `VocalGate`, and is handed to the tracker instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream_mer.types import Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelGate:
    """Opens where the loudest sample exceeds a level, so that silence and gaps never cost a decode.

    Attributes:
        open_dbfs: Peak level above which audio is let through, decibels below full scale.
    """

    open_dbfs: float = -60.0

    def may_be_sung(self, samples: Samples) -> bool:
        if len(samples) == 0:
            return False
        peak = float(np.max(np.abs(samples)))
        return bool(peak > 10.0 ** (self.open_dbfs / 20.0))
