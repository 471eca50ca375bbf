# SPDX-License-Identifier: MIT
"""A private Prometheus that takes samples by remote write and answers queries; see servers.py.

Remote write keeps every bit of a value, so staleness markers and NaN arrive as they are.
"""

import http.client
import json
import os
import shutil
import struct
import urllib.parse

from server_base import HOST, Server, ServerError, find_program

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def snappy(data):
    """Snappy's block format without compressing anything: literals of at most 64 KiB."""
    out = [varint(len(data))]
    for at in range(0, len(data), 65536):
        part = data[at:at + 65536]
        out.append(bytes([61 << 2]) + struct.pack("<H", len(part) - 1) + part)
    return b"".join(out)


def write_request(series):
    """prometheus.WriteRequest of (labels, [(t_ms, bits of the value), ...]) pairs."""
    out = []
    for labels, points in series:
        body = [field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in sorted(labels.items())]
        for t_ms, bits in points:
            body.append(field(2, b"\x09" + struct.pack("<Q", bits) + b"\x10" + varint(t_ms)))
        out.append(field(1, b"".join(body)))
    return b"".join(out)


class Prometheus(Server):
    """A Prometheus server on a loopback port, with nothing to scrape.

    config: more of its configuration file; rules: text of a rule file. options: more options.
    """

    name = "prometheus"

    def __init__(self, folder, config="", rules="", options=()):
        super().__init__(folder)
        self.config, self.rules, self.options = config, rules, list(options)
        self.data = os.path.join(self.folder, "data")

    @property
    def url(self):
        return f"http://{HOST}:{self.port}"

    def prepare(self):
        os.makedirs(self.data, exist_ok=True)
        text = self.config
        if self.rules:
            self.write("rules.yml", self.rules)
            text += f'rule_files: ["{os.path.join(self.folder, "rules.yml")}"]\n'
        self.write("prometheus.yml", text)

    def command(self):
        return [find_program("prometheus", "prometheus"), f"--config.file={self.folder}/prometheus.yml",
                f"--storage.tsdb.path={self.data}", f"--web.listen-address={HOST}:{self.port}",
                "--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y",
                "--log.level=warn", *self.options]

    def call(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def answers(self):
        try:
            return self.call("GET", "/-/ready")[0] == 200
        except OSError:
            return False

    def forget(self):
        shutil.rmtree(self.data, ignore_errors=True)

    def remote_write(self, series):
        """Store (labels, [(t_ms, bits), ...]) pairs; none may be older than what a series has."""
        status, text = self.call("POST", "/api/v1/write", snappy(write_request(series)), {
            "Content-Type": "application/x-protobuf", "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0"})
        if status != 204:
            raise ServerError(f"Prometheus refused samples: {status} {text.decode(errors='replace')}")

    def query(self, expression, t_ms):
        """The answer of an instant query as Prometheus's JSON: status, data or error."""
        return self.ask("/api/v1/query", query=expression, time=f"{t_ms / 1000:.3f}")

    def query_range(self, expression, start_ms, end_ms, step_ms):
        return self.ask("/api/v1/query_range", query=expression, start=f"{start_ms / 1000:.3f}",
                        end=f"{end_ms / 1000:.3f}", step=f"{step_ms / 1000:.3f}")

    def ask(self, path, **parameters):
        if not hasattr(self, "connection"):
            self.connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        self.connection.request("POST", path, urllib.parse.urlencode(parameters),
                                {"Content-Type": "application/x-www-form-urlencoded"})
        return json.loads(self.connection.getresponse().read())
