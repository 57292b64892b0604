"""The limit of open files, in a process of its own: it cannot be raised again once it was lowered."""

import subprocess
import sys

import pytest

resource = pytest.importorskip("resource")

TRY = """
import logging, resource, sys
from stream_mer.serve.open_files import make_room
logging.basicConfig(format="%(message)s")
soft, hard, clients = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
make_room(clients)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
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
