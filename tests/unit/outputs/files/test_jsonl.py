"""A file of lines holds what a live listener would have got."""

import io
import json

from stream_mer.outputs.files.jsonl import JsonlWriter
from stream_mer.server.codec import MessageEncoder, encode
from stream_mer.server.examples import CHANGE, FRAME, LINE, STATUS, examples


def test_lines_are_the_live_messages_without_those_that_a_file_has_no_use_for():
    file = io.BytesIO()
    writer = JsonlWriter(file, "song.mp3")
    live = MessageEncoder("song.mp3")
    expected = []
    for event in (STATUS, FRAME, LINE, CHANGE, FRAME):
        writer.publish(event)
        message = live.message(event)
        if event in (FRAME, LINE):
            expected.append(encode(message))
    writer.finish(examples()["summary"])
    lines = file.getvalue().splitlines()
    assert lines[:-1] == expected
    assert [json.loads(line)["type"] for line in lines] == ["emotion", "lyrics", "emotion", "summary"]


def test_text_is_utf_8_and_a_line_break_in_it_breaks_no_line():
    file = io.BytesIO()
    summary = examples()["summary"]
    JsonlWriter(file, "夜.mp3").finish(type(summary)(**{**_fields(summary), "lyrics": "夜に\n光"}))
    (line,) = file.getvalue().splitlines()
    assert "夜に" in line.decode()
    assert json.loads(line)["lyrics"] == "夜に\n光"


def _fields(message):
    return {name: getattr(message, name) for name in message.__struct_fields__}
