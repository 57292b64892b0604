"""Where audio comes from: files, the microphone, raw PCM on standard input. All of it leaves as mono at 16 kHz."""
