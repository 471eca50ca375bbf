# SPDX-License-Identifier: MIT
"""Throw-away certificates for tests of TLS."""

import os
import subprocess

from server_base import ServerError, find_program


def make_certificates(folder):
    """A throw-away certificate authority with a server and a client certificate, and a second one.

    Returns a dict of paths: ca, server_cert, server_key, client_cert, client_key, other_ca (signed
    nothing here), other_cert, other_key (a client of the other authority). The server's names are
    localhost, 127.0.0.1 and ::1; the client's common name is latido-client.
    """
    folder = os.path.join(folder, "tls")
    os.makedirs(folder, exist_ok=True)
    openssl = find_program("openssl", "openssl")
    path = {name: os.path.join(folder, name) for name in os.listdir(folder)}

    def run(*args):
        result = subprocess.run([openssl, *args], cwd=folder, text=True, check=False,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if result.returncode:
            raise ServerError(f"openssl {args[0]} failed: {result.stdout}")

    def authority(name):
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN=latido test {name}",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def leaf(name, common_name, ca, extension):
        with open(os.path.join(folder, f"{name}.ext"), "w", encoding="ascii") as f:
            f.write(extension + "\n")
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={common_name}")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key", "-CAcreateserial",
            "-days", "2", "-out", f"{name}.crt", "-extfile", f"{name}.ext")

    if "ca.crt" not in path:
        authority("ca")
        authority("other_ca")
        leaf("server", "localhost", "ca",
             "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth")
        leaf("client", "latido-client", "ca", "extendedKeyUsage=clientAuth")
        leaf("other", "latido-client", "other_ca", "extendedKeyUsage=clientAuth")
    names = {"ca": "ca.crt", "server_cert": "server.crt", "server_key": "server.key",
             "client_cert": "client.crt", "client_key": "client.key",
             "other_ca": "other_ca.crt", "other_cert": "other.crt", "other_key": "other.key"}
    return {name: os.path.join(folder, file) for name, file in names.items()}
