"""A time-stamping authority of our own: openssl behind a small server, with certificates made for the test."""

import subprocess
from contextlib import contextmanager

from loopback_support import server

SETTINGS = """\
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
signer_cert = {folder}/tsa.pem
certs = {folder}/ca.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
ess_cert_id_alg = sha256
"""
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*arguments, data=None):
    done = subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def authority(folder, *, days=3650):
    """Make a CA and an authority whose certificate ends after ``days``; return the folder."""
    folder.mkdir()
    root = ("-keyout", folder / "ca.key", "-out", folder / "ca.pem", "-days", 9000, "-subj", "/CN=Root")
    openssl("req", "-x509", *NEW_KEY, *root)
    openssl("req", *NEW_KEY, "-keyout", folder / "tsa.key", "-out", folder / "tsa.csr", "-subj", "/CN=TSA")
    (folder / "use").write_text("extendedKeyUsage=critical,timeStamping\n")
    signing = ("-CA", folder / "ca.pem", "-CAkey", folder / "ca.key", "-CAcreateserial", "-extfile", folder / "use")
    openssl("x509", "-req", "-in", folder / "tsa.csr", *signing, "-days", days, "-out", folder / "tsa.pem")
    (folder / "serial").write_text("01\n")
    (folder / "settings").write_text(SETTINGS.format(folder=folder))
    return folder


def reply(folder, query):
    """What the authority in ``folder`` says to a query."""
    (folder / "query").write_bytes(query)
    openssl("ts", "-reply", "-config", folder / "settings", "-queryfile", folder / "query", "-out", folder / "reply")
    return (folder / "reply").read_bytes()


@contextmanager
def serving(folder, change=lambda query: query):
    """Serve the authority; ``change`` may alter what it is asked."""

    def answer(conversation, query):
        conversation.give(200, "application/timestamp-reply", reply(folder, change(query)))

    with server(answer) as listening:
        yield listening
