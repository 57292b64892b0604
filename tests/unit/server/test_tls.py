"""A certificate is used or refused in one clear line."""

import ssl
import subprocess

import pytest
import trustme

from stream_mer.errors import SettingError
from stream_mer.server.settings import ServeSettings
from stream_mer.server.tls import tls_context, trusting


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
    with pytest.raises(SettingError, match="the key is not that of the certificate"):
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
    assert len(trusting(files["certificate"]).get_ca_certs(binary_form=True)) == 0, "a server vouches for nobody"
    authority = tmp_path / "authority.pem"
    trustme.CA().cert_pem.write_to_path(authority)
    assert len(trusting(authority).get_ca_certs()) == 1
    with pytest.raises(SettingError, match="holds no certificates"):
        trusting(files["key"])
    with pytest.raises(SettingError, match=r"cannot read .*missing\.pem: No such file"):
        trusting(tmp_path / "missing.pem")


def test_a_locked_key_is_refused_and_not_asked_about(files, tmp_path):
    locked = tmp_path / "locked.pem"
    command = ["openssl", "pkey", "-aes128", "-passout", "pass:x", "-in", str(files["key"]), "-out", str(locked)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("openssl cannot lock a key here")
    with pytest.raises(SettingError, match="locked with a password"):
        context(files["certificate"], locked)
