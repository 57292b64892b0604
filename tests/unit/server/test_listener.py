"""Certificates and the limit of open files.

The limit is set in a process of its own: it cannot be raised again once it was lowered.
"""

import re
import ssl
import subprocess
import sys

import pytest
import trustme

from stream_mer.config import ServeSettings
from stream_mer.errors import SettingError
from stream_mer.server.client import client_tls_context
from stream_mer.server.listener import KEPT_FREE, MIN_CONNECTIONS, tls_context

try:
    import resource
except ImportError:
    resource = None

needs_limit = pytest.mark.skipif(resource is None, reason="Windows has no such limit")

TRY = """
import logging, resource, sys
from stream_mer.server.listener import raise_file_limit
logging.basicConfig(format="%(message)s")
soft, hard, clients = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
raise_file_limit(clients)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""

COUNT = """
import os, resource, sys
from stream_mer.server.listener import max_connections
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
print(max_connections(int(sys.argv[2])), len(os.listdir("/dev/fd")) - 1)
"""


@needs_limit
@pytest.mark.parametrize(
    ("soft", "hard", "clients", "limit", "warning"),
    [
        (256, 2000, 1000, 1512, ""),
        (800, 2000, 100, 800, ""),
        (256, 700, 1000, 700, "too few for 1000 clients: .*--limit max_clients=188"),
    ],
    ids=["as far as clients need", "it is enough", "as far as allowed"],
)
def test_the_limit_of_open_files_is_raised(soft, hard, clients, limit, warning):
    command = [sys.executable, "-c", TRY, str(soft), str(hard), str(clients)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert int(done.stdout) == limit
    assert re.search(warning, done.stderr) if warning else done.stderr == ""


@needs_limit
def test_connections_leave_files_to_the_rest_of_the_process():
    def counted(limit: int, wanted: int) -> tuple[int, int]:
        command = [sys.executable, "-c", COUNT, str(limit), str(wanted)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        most, in_use = map(int, done.stdout.split())
        return most, in_use

    assert counted(4096, 1256)[0] == 1256
    most, in_use = counted(256, 1256)
    assert most == pytest.approx(256 - in_use - KEPT_FREE, abs=2)
    assert counted(64, 1256)[0] == MIN_CONNECTIONS
    assert counted(64, 4)[0] == 4


@pytest.fixture
def files(tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    paths = {name: tmp_path / f"{name}.pem" for name in ("certificate", "key", "both", "other")}
    certificate.cert_chain_pems[0].write_to_path(paths["certificate"])
    certificate.private_key_pem.write_to_path(paths["key"])
    certificate.private_key_and_cert_chain_pem.write_to_path(paths["both"])
    authority.issue_cert("127.0.0.1").private_key_pem.write_to_path(paths["other"])
    return paths


def context(certificate, key=None) -> ssl.SSLContext | None:
    return tls_context(ServeSettings(tls_certificate=certificate, tls_key=key))


def test_without_a_certificate_there_is_no_tls():
    assert tls_context(ServeSettings()) is None


def test_the_key_may_lie_in_its_own_file_or_with_the_certificate(files):
    for pair in ((files["certificate"], files["key"]), (files["both"], None)):
        made = context(*pair)
        assert made is not None
        assert made.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_files_that_do_not_fit_are_refused(files, tmp_path):
    with pytest.raises(SettingError, match="the key does not belong to the certificate"):
        context(files["certificate"], files["other"])
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("what?")
    with pytest.raises(SettingError, match="must be PEM files"):
        context(rubbish)
    with pytest.raises(SettingError, match="cannot read"):
        context(tmp_path / "missing.pem")
    with pytest.raises(SettingError, match="needs its certificate"):
        ServeSettings(tls_key=files["key"])


def test_who_vouches_for_servers_is_read_from_a_file(files, tmp_path):
    assert len(client_tls_context(files["certificate"]).get_ca_certs(binary_form=True)) == 0, (
        "a server vouches for nobody"
    )
    authority = tmp_path / "authority.pem"
    trustme.CA().cert_pem.write_to_path(authority)
    assert len(client_tls_context(authority).get_ca_certs()) == 1
    with pytest.raises(SettingError, match="holds no certificates"):
        client_tls_context(files["key"])
    with pytest.raises(SettingError, match=r"cannot read .*missing\.pem: No such file"):
        client_tls_context(tmp_path / "missing.pem")


def test_a_locked_key_is_refused_and_not_asked_about(files, tmp_path):
    locked = tmp_path / "locked.pem"
    command = ["openssl", "pkey", "-aes128", "-passout", "pass:x", "-in", str(files["key"]), "-out", str(locked)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("openssl cannot lock a key here")
    with pytest.raises(SettingError, match="has a password"):
        context(files["certificate"], locked)
