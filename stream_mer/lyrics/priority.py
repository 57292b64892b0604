"""Lets the threads of the recogniser wait for everybody else.

A decode takes every core that it is given for a second or two; an emotion frame needs a few milliseconds of one, now.
Where the system ranks threads (Linux), the recogniser's are ranked below all others: it gets what is left over.
"""

from __future__ import annotations

import logging
import os
import sys
import threading

_log = logging.getLogger(__name__)

NICER_BY = 5
"""Three of four parts of a core go to a thread of this process that gives no way and wants it as well."""
_NICEST = 19


def give_way() -> None:
    """Rank this thread, and those that it starts from now on, below others; elsewhere than on Linux nothing happens.

    Threads inherit the rank of the one that starts them; so call it before the recogniser, which has some, is loaded.
    """
    if sys.platform != "linux":  # elsewhere niceness is of the process, emotion frames and all
        return
    try:
        thread = threading.get_native_id()
        niceness = os.getpriority(os.PRIO_PROCESS, thread) + NICER_BY
        os.setpriority(os.PRIO_PROCESS, thread, min(niceness, _NICEST))
    except OSError as error:
        _log.debug("the recogniser's threads keep their rank: %s", error)
