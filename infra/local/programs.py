# SPDX-License-Identifier: MIT
"""Latido's own programs as processes of a test or of the demo.

A Program starts one binary with a configuration file, keeps its log, and reads its admin listener:
readiness, counters, histograms. Only the standard library is used.
"""

import http.client
import json
import math
import os
import re
import signal
import subprocess

import servers
from servers import ServerError, wait_until

READY_SECONDS = 60
_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')
_SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


def yaml_config(sections):
    """A configuration file's text; sections: nested dicts of scalars and lists."""
    lines = []

    def scalar(value):
        # JSON's strings, numbers, booleans and flow lists are YAML too.
        return json.dumps(value, ensure_ascii=False)

    def block(mapping, indent):
        for key, value in mapping.items():
            if isinstance(value, dict):
                lines.append(f"{indent}{key}:")
                block(value, indent + "  ")
            else:
                lines.append(f"{indent}{key}: {scalar(value)}")

    block(sections, "")
    return "\n".join(lines) + "\n"


def parse_log_line(line):
    """Fields of a logfmt line as a dict; {} for anything else."""
    fields = {}
    for key, value in _PAIR.findall(line):
        if value.startswith('"'):
            value = re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), value[1:-1])
        fields[key] = value
    return fields if "level" in fields and "id" in fields else {}


class Metrics:
    """One scrape of /metrics."""

    def __init__(self, text):
        self.samples = []  # (name, labels, value)
        for line in text.splitlines():
            match = _SAMPLE.match(line)
            if match and not line.startswith("#"):
                self.samples.append((match[1], dict(_LABEL.findall(match[2] or "")), float(match[3])))

    def value(self, name, **labels):
        """Sum of the samples of that name which have these labels; KeyError when there is none."""
        found = [v for n, have, v in self.samples if n == name and labels.items() <= have.items()]
        if not found:
            raise KeyError(f"no metric {name} {labels or ''}")
        return sum(found)

    def count(self, histogram):
        return int(self.value(histogram + "_count"))

    def quantile(self, histogram, q):
        """As Prometheus's histogram_quantile: linear inside a bucket; NaN without observations."""
        buckets = sorted((float(labels["le"]), v) for n, labels, v in self.samples
                         if n == histogram + "_bucket")
        if not buckets or buckets[-1][1] == 0:
            return math.nan
        rank = q * buckets[-1][1]
        below_bound, below = 0.0, 0.0
        for bound, cumulated in buckets:
            if cumulated >= rank:
                if math.isinf(bound) or cumulated == below:
                    return below_bound
                return below_bound + (bound - below_bound) * (rank - below) / (cumulated - below)
            below_bound, below = bound, cumulated
        return below_bound


class Program:
    """One running program. Give `config` a path; the log goes to `folder`/<label>.log."""

    def __init__(self, bin_folder, name, folder, config=None, args=(), env=None, label=None):
        self.name, self.label = name, label or name
        self.binary = os.path.join(bin_folder, name)
        self.log = os.path.join(folder, self.label + ".log")
        self.stdout = os.path.join(folder, self.label + ".out")
        self.argv = [self.binary, *(["--config", config] if config else []), *args]
        self.env = {**os.environ, **(env or {})}
        self.process = None
        self.log_start = 0
        self._admin_port = None

    def start(self):
        if not os.access(self.binary, os.X_OK):
            raise ServerError(f"{self.binary} is not built (make all, or make all SANITIZE=... for a sanitizer)")
        self.log_start = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        self._admin_port = None
        with open(self.log, "ab") as err, open(self.stdout, "ab") as out:
            # A session of its own: Ctrl-C on the terminal is the caller's to handle.
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                            env=self.env, start_new_session=True)
        servers.guard_process(self.process.pid)
        return self

    @property
    def pid(self):
        return self.process.pid

    def running(self):
        return self.process is not None and self.process.poll() is None

    def log_text(self):
        """What it wrote to stderr since the last start."""
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                f.seek(self.log_start)
                return f.read()
        except OSError:
            return ""

    def log_tail(self, lines=30):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def logged(self, log_id, **fields):
        """Parsed log lines with this id and these fields (as text) since the last start."""
        wanted = {"id": log_id, **fields}
        # Taking a line apart is dear, and whoever waits looks again and again.
        candidates = [line for line in self.log_text().splitlines() if f"id={log_id}" in line]
        return [line for line in map(parse_log_line, candidates) if wanted.items() <= line.items()]

    def wait_log(self, log_id, seconds=READY_SECONDS, **fields):
        """Wait for such a line and return it."""
        return self.wait(lambda: self.logged(log_id, **fields), seconds, f"log line id={log_id} {fields or ''}")[0]

    def wait(self, condition, seconds, what):
        """wait_until(), but a program that ended meanwhile is an error at once, with its log."""
        def check():
            value = condition()
            if not value and not self.running():
                raise ServerError(f"{self.label} ended with code {self.process.returncode} while waiting for: "
                                  f"{what}; its log ends:\n{self.log_tail()}")
            return value
        try:
            return wait_until(check, seconds, f"{self.label}: {what}")
        except TimeoutError as e:
            raise ServerError(f"{e}; its log ends:\n{self.log_tail()}") from None

    def admin_port(self):
        """The port that it says its admin listener has; it is said once a start."""
        if self._admin_port is None:
            self._admin_port = int(self.wait_log("admin_listening")["port"])
        return self._admin_port

    def get(self, path):
        """GET from the admin listener: (status, text)."""
        connection = http.client.HTTPConnection(servers.HOST, self.admin_port(), timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def metrics(self):
        return Metrics(self.get("/metrics")[1])

    def value(self, name, **labels):
        """One value of /metrics now; 0 while it is not there."""
        try:
            return self.metrics().value(name, **labels)
        except KeyError:
            return 0

    def ready(self):
        """True when /readyz says 200; False also while nothing listens."""
        try:
            return self.get("/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait_ready(self, seconds=READY_SECONDS):
        self.wait(self.ready, seconds, "/readyz")
        return self

    def signal(self, signum):
        self.process.send_signal(signum)

    def wait_exit(self, seconds=60):
        """Its exit code (negative: signal number)."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ServerError(f"{self.label} did not end within {seconds} s; its log ends:\n"
                              f"{self.log_tail()}") from None
        servers.unguard_process(self.process.pid)
        return code

    def terminate(self, seconds=60):
        """SIGTERM; ServerError unless it drains and exits 0."""
        self.signal(signal.SIGTERM)
        code = self.wait_exit(seconds)
        if code != 0:
            raise ServerError(f"{self.label} ended with code {code} after SIGTERM; its log ends:\n"
                              f"{self.log_tail()}")

    def kill(self):
        if self.process is not None:
            if self.running():
                self.process.kill()
            self.process.wait()
            servers.unguard_process(self.process.pid)
