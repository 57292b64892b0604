"""What lies on disk is read as far as it can be."""

import json
import logging
import os
import re
from pathlib import Path

import msgspec
import pytest

from stream_mer.errors import RecordingError
from stream_mer.outputs.recording.format import MAX_LINE_BYTES, MAX_STREAMS, MESSAGES, is_recording, open_recording


def events_of(recording):
    return [one.event for one in recording.events()]


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
    data, whole = path.read_bytes(), events_of(recording)
    header_end = data.index(b"\n") + 1
    for end in range(header_end, len(data), 97):
        path.write_bytes(data[:end])
        n = data[header_end:end].count(b"\n")
        read = events_of(open_recording(recording.folder))
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
            assert len(events_of(recording)) == len(happenings)
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
        (b"[" * 100_000, "does not begin like a recording"),
        (b'{"type":"recording","x":' + b'{"a":' * 100_000, "does not begin like a recording"),
        (b"x" * (3 << 20), "does not begin like a recording"),
        (None, "there is no recording in"),
    ],
)
def test_what_is_no_recording_is_one_line(tmp_path, content, says):
    if content is not None:
        (tmp_path / MESSAGES).write_bytes(content)
    with pytest.raises(RecordingError, match=says) as error:
        open_recording(tmp_path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_a_recording_of_a_newer_format_is_refused(write, happenings):
    recording = write(happenings)
    path = recording.folder / MESSAGES
    header, _, rest = path.read_bytes().partition(b"\n")
    newer = msgspec.json.encode(msgspec.json.decode(header) | {"format": 2, "server": "stream-mer/9"})
    path.write_bytes(newer + b"\n" + rest)
    with pytest.raises(RecordingError, match=r"stream-mer/9, which is newer: update"):
        open_recording(recording.folder)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"at":1e300}', "line 2 is at 1e+300 s: a recording is at most 366 days long"),
        (b'{"at":31622401,"message":{"type":"hologram"}}', "a recording is at most 366 days long"),
        (b'{"at":1,"message":' + b"[" * 100_000, "line 2 is nested too deeply"),
        (b'{"at":1,"x":' + b'{"a":' * 100_000, "line 2 is nested too deeply"),
        (b'{"at":1,"x":"' + b"x" * (MAX_LINE_BYTES + 1) + b'"}', "line 2 is longer than 1 MiB"),
    ],
)
def test_what_no_recorder_writes_is_refused_in_one_line(write, happenings, line, says):
    path = write(happenings).folder / MESSAGES
    header, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(header + b"\n" + line + b"\n" + rest)
    with pytest.raises(RecordingError, match=re.escape(says)) as error:
        open_recording(path.parent)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hop_s": 0}, "hello.hop_s"),
        ({"hop_s": -0.5}, "hello.hop_s"),
        ({"hop_s": 1e-300}, "hello.hop_s"),
        ({"hop_s": 1e300}, "hello.hop_s"),
        ({"window_s": 0}, "hello.window_s"),
        ({"hop_s": "half"}, "hello.hop_s"),
    ],
)
def test_a_header_that_cannot_be_is_refused_in_one_line(write, happenings, changes, says):
    path = write(happenings).folder / MESSAGES
    header, _, rest = path.read_bytes().partition(b"\n")
    content = json.loads(header)
    content["hello"] |= changes
    path.write_bytes(json.dumps(content).encode() + b"\n" + rest)
    with pytest.raises(RecordingError, match=says) as error:
        open_recording(path.parent)
    assert error.value.exit_code == 2


def test_values_that_no_message_has_are_left_out(write, happenings, caplog):
    path = write(happenings).folder / MESSAGES
    lines = path.read_bytes().splitlines(keepends=True)
    emotion = next(json.loads(line) for line in lines if b'"emotion"' in line)
    bad = [{"t1": 1e300}, {"index": 2**53}, {"valence": 9}]
    lines[2:2] = [json.dumps({"at": 1, "message": emotion["message"] | one}).encode() + b"\n" for one in bad]
    path.write_bytes(b"".join(lines))
    assert len(events_of(open_recording(path.parent))) == len(happenings)
    assert "3 lines cannot be read, left out" in caplog.text


def test_streams_without_end_are_refused(write, happenings):
    path = write(happenings).folder / MESSAGES
    status = next(json.loads(line) for line in path.read_bytes().splitlines() if b'"status"' in line)
    with path.open("ab") as file:
        for number in range(MAX_STREAMS + 1):
            file.write(json.dumps({"at": 9, "message": status["message"] | {"stream": f"s{number}"}}).encode() + b"\n")
    with pytest.raises(RecordingError, match="more than 1024 streams"):
        open_recording(path.parent)


def test_what_is_no_folder_is_no_recording_however_long_its_name():
    for name in ("nothing", "x" * 5000, "x/" * 5000):
        assert not is_recording(Path(name))
        with pytest.raises(RecordingError, match="is no folder"):
            open_recording(Path(name))
