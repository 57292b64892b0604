"""Looks that need no file, on lamps that many have; and examples to begin a file with. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from stream_mer.errors import SettingError
from stream_mer.outputs.dmx.look import Look
from stream_mer.outputs.dmx.rig import Fixture, Rig, Safety

LOOKS = ("mood", "palette", "wash")
"""Names of the presets; the first is what a rig file begins with that names none."""

ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "mood": "valence chooses the hue (blue, violet, red, amber), arousal intensity and speed",
        "palette": "each category has its colours, through which lamps wander; arousal is intensity and speed",
        "wash": "a subtle wash: pale hues that move slowly, intensity within narrow limits",
    }
)
"""What each one does."""

_PRESETS: Mapping[str, tuple[Look, Safety]] = MappingProxyType(
    {
        "mood": (Look(), Safety()),
        "palette": (Look(colour="palette", speed=(0.1, 1.0)), Safety()),
        "wash": (
            Look(
                hue=(220.0, 400.0),
                saturation=(0.25, 0.45),
                wander=10.0,
                intensity=(0.45, 0.65),
                speed=(0.0, 0.3),
                rounds_per_min=2.0,
            ),
            Safety(colour_per_s=0.1, intensity_per_s=0.1, return_s=5.0),
        ),
    }
)

_LAMPS = Fixture(name="lamps", channels=("red", "green", "blue"), count=16, offset_step=1 / 16)


def preset(name: str) -> Rig:
    """Return a preset: its look on 16 RGB lamps, one after another from channel 1 of universe 1 on.

    Raises:
        SettingError: There is none of this name.
    """
    if name not in _PRESETS:
        raise SettingError(f"no preset is called {name!r}; there are {', '.join(LOOKS)}")
    look, safety = _PRESETS[name]
    return Rig(fixtures=(_LAMPS,), name=f"stream_mer {name}", look=look, safety=safety)


EXAMPLES: Mapping[str, str] = MappingProxyType(
    {
        "rig": """\
# Lamps for `stream-mer serve --sacn rig.toml`; every key is told in docs/DMX.md.
preset = "mood"                 # mood, palette or wash: what is not said here is as there
name = "club"                   # what consoles show as the source

[sacn]
priority = 100                  # receivers follow the source of the highest priority
# to = ["192.168.1.50"]         # unicast; without it multicast

[artnet]
# to = "192.168.1.60"           # for --artnet rig.toml
first_universe = 0              # the Art-Net universe that universe 1 is sent to

[look]
intensity = [0.3, 1.0]          # at the calmest and at the most excited
hue = [240, 400]                # degrees, at the least and at the most pleasant

[safety]
hold_s = 10                     # without audio or model: hold for so long,
fade_s = 5                      # then fade so slowly
lost_colour = "#ff9a4d"         # to this colour
lost_intensity = 0.4
at_end = "hold"                 # at the end of the program: hold, look (that of lost_...) or dark

[[fixtures]]
name = "front"
universe = 1
address = 1
channels = ["dimmer", "red", "green", "blue", "white", "strobe"]
count = 4                       # one after another
offset_step = 0.25              # colours wander from lamp to lamp

[[fixtures]]
name = "heads"
universe = 1
address = 101
channels = ["dimmer", "dimmer fine", "red", "green", "blue", "speed", 255]    # 255: a shutter, held open
count = 2
""",
        "wled": """\
# A strip of 300 pixels on a WLED controller, for `stream-mer serve --sacn wled.toml@WLED-ADDRESS`.
# WLED: Config > Sync Interfaces > Realtime: type E1.31 (sACN), start universe 1, DMX mode "Multi RGB", start address 1.
# Without data for its time-out (2.5 s), and at the end of the stream, it goes back to its own effect.
preset = "palette"
name = "strip"

[[fixtures]]
name = "strip"
channels = ["red", "green", "blue"]     # the order of WLED's DMX mode; it knows that of the LEDs itself
count = 20                              # 20 lamps ...
pixels = 15                             # ... of 15 pixels each; past 170 pixels it goes on in universe 2
offset_step = 0.05
response = 1.0                          # 2.8 where "Disable realtime gamma correction" is not ticked
""",
    }
)
"""Rig files to begin with, by name."""
