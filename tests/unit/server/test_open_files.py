"""The limit of open files, in a process of its own: it cannot be raised again once it was lowered."""

import subprocess
import sys

import pytest

from stream_mer.server.open_files import FEWEST_CONNECTIONS, KEPT_FREE

resource = pytest.importorskip("resource")

TRY = """
import logging, resource, sys
from stream_mer.server.open_files import make_room
logging.basicConfig(format="%(message)s")
soft, hard, clients = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
make_room(clients)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""

COUNT = """
import os, resource, sys
from stream_mer.server.open_files import most_connections
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
print(most_connections(int(sys.argv[2])), len(os.listdir("/dev/fd")) - 1)
"""


def tried(soft: int, hard: int, clients: int) -> tuple[int, str]:
    command = [sys.executable, "-c", TRY, str(soft), str(hard), str(clients)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return int(done.stdout), done.stderr


def test_the_limit_is_raised_as_far_as_clients_need():
    assert tried(256, 2000, 1000) == (1512, "")


def test_a_limit_that_is_enough_is_left_alone():
    assert tried(800, 2000, 100) == (800, "")


def test_where_it_may_not_be_raised_so_far_it_is_said():
    limit, told = tried(256, 700, 1000)
    assert limit == 700
    assert "too few for 1000 clients" in told
    assert "--limit max_clients=188" in told


def test_connections_leave_files_to_the_rest_of_the_process():
    def counted(limit: int, wanted: int) -> tuple[int, int]:
        command = [sys.executable, "-c", COUNT, str(limit), str(wanted)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        most, in_use = map(int, done.stdout.split())
        return most, in_use

    assert counted(4096, 1256)[0] == 1256
    most, in_use = counted(256, 1256)
    assert most == pytest.approx(256 - in_use - KEPT_FREE, abs=2)
    assert counted(64, 1256)[0] == FEWEST_CONNECTIONS
    assert counted(64, 4)[0] == 4
