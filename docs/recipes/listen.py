"""Print the emotion of the music, and each line of the lyrics."""

import asyncio

from stream_mer import connect, messages


async def main() -> None:
    """Listen until interrupted; breaks are mended on the way."""
    async with connect("ws://127.0.0.1:8765") as client:
        async for message in client:
            if isinstance(message, messages.Emotion):
                print(message.valence, message.arousal, message.category.top, flush=True)
            elif isinstance(message, messages.Lyrics) and message.committed:
                print(message.text, flush=True)


asyncio.run(main())
