# SPDX-License-Identifier: MIT
"""A private Mosquitto; see servers.py."""

import os
import shutil
import socket
import ssl
import struct
import subprocess

import server_base
from certificates import make_certificates
from server_base import HOST, Server, find_program


class Mosquitto(Server):
    """An MQTT broker whose limits lose nothing: a connected or away QoS 1 subscriber gets it all.

    tls: also listen with TLS on .tls_port (certificates in .certificates); "require": clients need
    a certificate. users: {name: password}, anonymous access is then refused. acl: text of an ACL
    file. persistence: keep sessions and queues over a restart, and over SIGKILL as of the last
    second. queue_bytes: what one client may have waiting. config: further lines.
    """

    name = "mosquitto"

    def __init__(self, folder, tls=False, users=None, acl=None, persistence=False,
                 queue_bytes=256 << 20, config="", port=0, tls_port=0):
        super().__init__(folder)
        self.tls, self.users, self.acl = tls, users, acl
        self.persistence, self.queue_bytes, self.config = persistence, queue_bytes, config
        self.port, self.port_is_ours = port, not port
        self.tls_port, self.tls_port_is_ours = tls_port, not tls_port
        self.certificates = None
        self.data = os.path.join(self.folder, "data")

    @property
    def url(self):
        return f"mqtt://{HOST}:{self.port}"

    @property
    def tls_url(self):
        return f"mqtts://localhost:{self.tls_port}"

    def prepare(self):
        os.makedirs(self.data, exist_ok=True)
        lines = [
            f"listener {self.port} {HOST}",
            # The defaults (20 in flight, 1000 queued) drop messages that were acknowledged.
            "max_inflight_messages 0", "max_queued_messages 0", f"max_queued_bytes {self.queue_bytes}",
            "set_tcp_nodelay true",
            "log_dest stderr", "log_type error", "log_type warning", "log_type notice", "log_type information",
            "log_timestamp_format %Y-%m-%dT%H:%M:%S",
            f"allow_anonymous {'false' if self.users else 'true'}",
        ]
        if os.geteuid() == 0:
            lines.append("user root")  # it would become "mosquitto", who may not enter the folder
        if self.users:
            passwords = self.write("passwords", "")
            for user, password in self.users.items():
                subprocess.run([find_program("mosquitto_passwd", "mosquitto"), "-b", passwords, user, password],
                               check=True, stdout=subprocess.DEVNULL)
            lines.append(f"password_file {passwords}")
        if self.acl is not None:
            lines.append(f"acl_file {self.write('acl', self.acl)}")
        if self.persistence:
            lines += ["persistence true", f"persistence_location {self.data}/",
                      "autosave_interval 1"]  # seconds; on every change would write all of it each time
        lines += self.config.splitlines()
        if self.tls:
            self.certificates = self.certificates or make_certificates(self.folder)
            self.tls_port = self.tls_port or server_base.free_port()
            c = self.certificates
            lines += [f"listener {self.tls_port} {HOST}", f"cafile {c['ca']}", f"certfile {c['server_cert']}",
                      f"keyfile {c['server_key']}"]
            if self.tls == "require":
                lines.append("require_certificate true")
        self.write("mosquitto.conf", "\n".join(lines) + "\n")

    def choose_again(self):
        super().choose_again()
        if self.tls_port_is_ours:
            self.tls_port = 0

    def command(self):
        return [find_program("mosquitto", "mosquitto"), "-c", os.path.join(self.folder, "mosquitto.conf")]

    def answers(self):
        self._connect(socket.create_connection((HOST, self.port), 2))
        if self.tls:
            c = self.certificates
            context = ssl.create_default_context(cafile=c["ca"])
            context.load_cert_chain(c["client_cert"], c["client_key"])
            raw = socket.create_connection((HOST, self.tls_port), 2)
            self._connect(context.wrap_socket(raw, server_hostname="localhost"))
        return True

    @staticmethod
    def _connect(sock):
        """CONNECT as MQTT 3.1.1; any CONNACK will do, "not authorised" is an answer too."""
        with sock:
            client = b"latido-ready"
            body = b"\0\4MQTT\4\2\0\5" + struct.pack(">H", len(client)) + client
            sock.settimeout(2)
            sock.sendall(b"\x10" + bytes([len(body)]) + body)
            reply = sock.recv(4)
            if reply[:1] != b"\x20":
                raise EOFError
            if reply[3:4] == b"\0":
                sock.sendall(b"\xe0\0")

    def forget(self):
        shutil.rmtree(self.data, ignore_errors=True)
