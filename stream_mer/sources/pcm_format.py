"""Raw PCM, as it comes from a pipe or a socket, to mono at 16 kHz. Pure: bytes in, samples out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_mer.errors import SettingError
from stream_mer.sources.resampling import MonoResampler, to_float32
from stream_mer.types import Samples

_PACKED_24 = {"s24le": "<i4", "s24be": ">i4"}
_DTYPES = {
    "u8": "u1",
    "s8": "i1",
    "s16le": "<i2",
    "s16be": ">i2",
    **_PACKED_24,
    "s32le": "<i4",
    "s32be": ">i4",
    "f32le": "<f4",
    "f32be": ">f4",
    "f64le": "<f8",
    "f64be": ">f8",
}

SAMPLE_FORMATS = tuple(_DTYPES)
"""Names as in ``ffmpeg -f``."""

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 384_000
MAX_CHANNELS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PcmFormat:
    """How to read raw PCM.

    Attributes:
        rate_hz: 4000 to 384000.
        sample_format: One of ``SAMPLE_FORMATS``; ``s24le`` and ``s24be`` are packed in 3 bytes.
        channels: 1 to 64, interleaved.

    Raises:
        SettingError: One of them is not possible.
    """

    rate_hz: int = 44_100
    sample_format: str = "s16le"
    channels: int = 1

    def __post_init__(self) -> None:
        if self.sample_format not in _DTYPES:
            raise SettingError(
                f"unknown sample format {self.sample_format!r}; choose one of {', '.join(SAMPLE_FORMATS)}"
            )
        if not MIN_RATE_HZ <= self.rate_hz <= MAX_RATE_HZ:
            raise SettingError(f"the rate of raw audio must be {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz, not {self.rate_hz}")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise SettingError(f"raw audio must have 1 to {MAX_CHANNELS} channels, not {self.channels}")

    @property
    def stride_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        width = 3 if self.sample_format in _PACKED_24 else np.dtype(_DTYPES[self.sample_format]).itemsize
        return width * self.channels

    def decode(self, data: bytes) -> NDArray[np.float32]:
        """Decode whole samples.

        Args:
            data: A multiple of ``stride_bytes``.

        Returns:
            Shape ``[n, channels]``, -1..1 for integers, as they are for floating point.
        """
        samples: NDArray[Any]
        if self.sample_format in _PACKED_24:
            little = self.sample_format == "s24le"
            widened = np.zeros((len(data) // 3, 4), np.uint8)
            widened[:, slice(1, 4) if little else slice(0, 3)] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            samples = widened.reshape(-1).view(_PACKED_24[self.sample_format])
        else:
            samples = np.frombuffer(data, _DTYPES[self.sample_format])
        return to_float32(samples).reshape(-1, self.channels)


class PcmDecoder:
    """Bytes, cut anywhere, to mono at 16 kHz.

    Args:
        pcm_format: How to read them.
    """

    def __init__(self, pcm_format: PcmFormat) -> None:
        self._format = pcm_format
        self._resampler = MonoResampler(pcm_format.rate_hz)
        self._rest = b""

    def feed(self, data: bytes) -> Samples:
        """Take the next bytes and return the audio that is ready, which may be nothing."""
        data = self._rest + data
        whole = len(data) - len(data) % self._format.stride_bytes
        self._rest = data[whole:]
        return self._resampler.feed(self._format.decode(data[:whole]))

    def finish(self) -> Samples:
        """The bytes ended: return what was held back. A last sample that is not whole is dropped."""
        self._rest = b""
        return self._resampler.finish()
