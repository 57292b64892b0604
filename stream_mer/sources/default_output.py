"""Keep what this process captures on the monitor of the default output, whichever that is (PulseAudio, PipeWire).

The sound servers leave a stream that records a monitor where it was when the default output changes. The only import of
pulsectl, and made in the capture process alone: the sound server's library may hang, and that process may be killed.
"""

from __future__ import annotations

import os
import time
from typing import Any, NoReturn

LOOK_S = 1.0
"""How often to look at least; a change that the server tells of is seen at once."""

RETRY_S = 1.0


def follow_default_output() -> NoReturn:
    """Move what this process records whenever the default output changes; for a thread of its own.

    Raises:
        ImportError: pulsectl is not installed.
        OSError: The sound server's library is not.
    """
    import pulsectl  # noqa: PLC0415 - an extra

    def wake(_event: object) -> None:
        raise pulsectl.PulseLoopStop

    while True:
        try:
            with pulsectl.Pulse("stream_mer") as pulse:
                pulse.event_mask_set("server")
                pulse.event_callback_set(wake)
                while True:
                    move_to_default_output(pulse, os.getpid())
                    pulse.event_listen(timeout=LOOK_S)
        except pulsectl.PulseError:  # it went away: what it captured ends with it, and is begun anew
            time.sleep(RETRY_S)


def move_to_default_output(pulse: Any, process_id: int) -> None:
    """Move what a process records to the monitor of the output that is the default one now, if it is elsewhere.

    Args:
        pulse: A connection: ``pulsectl.Pulse``.
        process_id: Whose streams are moved.
    """
    default = pulse.server_info().default_sink_name
    monitor = next((sink.monitor_source for sink in pulse.sink_list() if sink.name == default), None)
    if monitor is None:  # there is no output just now
        return
    for stream in pulse.source_output_list():
        if stream.proplist.get("application.process.id") == str(process_id) and stream.source != monitor:
            pulse.source_output_move(stream.index, monitor)
