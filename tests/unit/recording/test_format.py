"""What lies on disk is read as far as it can be."""

import json
import logging
import os

import msgspec
import pytest

from stream_mer.errors import SourceError
from stream_mer.recording.format import MESSAGES, is_recording, open_recording


def messages_of(recording):
    return [entry.message for entry in recording.entries() if entry.message is not None]


def test_every_line_is_plain_json(write, happenings):
    recording = write(happenings)
    header, *lines = map(json.loads, (recording.folder / MESSAGES).read_text(encoding="utf-8").splitlines())
    assert header["type"] == "recording"
    assert header["hello"]["protocol"] == "mer.v1"
    assert lines[0]["at"] == 0.1
    assert lines[0]["message"]["type"] == "status"
    assert set(lines[1]) == {"at", "message"}
    assert lines[-1] == {"at": happenings[-1][0], "ended": True}


def test_a_recording_that_was_cut_off_anywhere_is_read_up_to_there(write, happenings):
    recording = write(happenings)
    path = recording.folder / MESSAGES
    data, whole = path.read_bytes(), messages_of(recording)
    header_end = data.index(b"\n") + 1
    for end in range(header_end, len(data), 97):
        path.write_bytes(data[:end])
        n = data[header_end:end].count(b"\n")
        read = messages_of(open_recording(recording.folder))
        assert read[:n] == whole[:n]
        assert len(read) - n in (0, 1), "the last line may have been cut right before its end"


def test_damaged_and_newer_lines_are_left_out_with_one_warning(write, happenings, caplog):
    recording = write(happenings)
    path = recording.folder / MESSAGES
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2:2] = [
        b"\0" * 100 + b"\n",
        b'{"at":1.0,"message":{"type":"hologram","stream":"x"}}\n',
        b'{"at":-1}\n',
        b"\xff\n",
    ]
    path.write_bytes(b"".join(lines))
    with caplog.at_level(logging.WARNING):
        recording = open_recording(recording.folder)
        for _ in range(3):
            assert len(messages_of(recording)) == len(happenings)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: 4 lines cannot be read, left out; the last one that can is at {happenings[-1][0]:.1f} s"
    ]


def test_streams_that_came_later_are_among_them(write, happenings):
    recording = write(happenings)
    path = recording.folder / MESSAGES
    path.write_bytes(path.read_bytes().replace(b'"streams":["hall"]', b'"streams":[]'))
    assert open_recording(recording.folder).header.hello.streams == ()
    assert open_recording(recording.folder).streams == ("hall",)


def test_of_several_the_newest_is_opened_and_said(write, happenings, caplog):
    first, second = write(happenings, "b"), write(happenings, "a")

    os.utime(first.folder / MESSAGES, (1, 1))
    assert open_recording(first.folder.parent).folder == second.folder
    assert "holds 2 recordings: the newest is a" in caplog.text
    assert is_recording(first.folder.parent)
    assert is_recording(first.folder)
    assert not is_recording(first.folder / MESSAGES)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "does not begin like a recording"),
        (b"RIFF\xff\xfe", "does not begin like a recording"),
        (b'{"type":"hello"}\n', "does not begin like a recording"),
        (None, "there is no recording in"),
    ],
)
def test_what_is_no_recording_is_one_line(tmp_path, content, says):
    if content is not None:
        (tmp_path / MESSAGES).write_bytes(content)
    with pytest.raises(SourceError, match=says) as error:
        open_recording(tmp_path)
    assert "\n" not in str(error.value)


def test_what_is_no_folder_is_one_line(tmp_path):
    with pytest.raises(SourceError, match="is no folder"):
        open_recording(tmp_path / "nothing")


def test_a_recording_of_a_newer_format_is_refused(write, happenings):
    recording = write(happenings)
    path = recording.folder / MESSAGES
    header, _, rest = path.read_bytes().partition(b"\n")
    newer = msgspec.json.encode(msgspec.json.decode(header) | {"format": 2, "server": "stream-mer/9"})
    path.write_bytes(newer + b"\n" + rest)
    with pytest.raises(SourceError, match=r"stream-mer/9, which is newer: update"):
        open_recording(recording.folder)
