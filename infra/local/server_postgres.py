# SPDX-License-Identifier: MIT
"""A private PostgreSQL; see servers.py."""

import fcntl
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import tempfile

import guard
from certificates import make_certificates
from pg_query import QueryError, query
from server_base import (HOST, SEARCH_PATH, STOP_SECONDS, Server, ServerError, find_program, guard_segment,
                         private_folder, remove_folder, short_folder, wait_gone, wait_until)


class Postgres(Server):
    """A PostgreSQL cluster on a private unix socket with the database and superuser `latido`.

    tcp: also listen on 127.0.0.1. password: asked for over TCP (scram-sha-256); without one
    everybody who reaches the loopback is trusted, as is who reaches the socket (mode 0700).
    fsync: off by default, which a killed server survives and a power cut does not. tls: TLS on the
    TCP port (implies tcp). config: further lines for postgresql.conf.

    PostgreSQL refuses to run as root: then it runs as the user postgres (or nobody), and where that
    user cannot enter the folder its data is in a folder under /tmp, removed by close().
    """

    name = "postgres"
    pristine = None  # folder of an unused cluster to copy, which is quicker than initdb; see keep_pristine()
    stop_signal = signal.SIGINT  # "fast": sessions are ended, the shutdown is clean

    def __init__(self, folder, tcp=False, password=None, fsync=False, tls=False, config="", port=0,
                 database="latido"):
        super().__init__(folder)
        self.tcp, self.password, self.fsync, self.tls = tcp or tls, password, fsync, tls
        self.config, self.database, self.user = config, database, "latido"
        self.port, self.port_is_ours = port, not port
        self.certificates = None
        self.run_as = self._unprivileged() if os.geteuid() == 0 else None
        self.outside = None
        if self.run_as and not self._may_enter():
            self.outside = private_folder("latido-pg-", "/tmp")
            self._hand_over(self.outside)
        base = self.outside or self.folder
        self.data = os.path.join(base, "data")
        self.socket_folder = short_folder(base, ".s.PGSQL.65535.lock")
        self._hand_over(self.socket_folder)

    @staticmethod
    def _unprivileged():
        for name in ("postgres", "nobody"):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                continue
        raise ServerError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody")

    def _as_user(self, *command):
        if not self.run_as:
            return list(command)
        return ["setpriv", f"--reuid={self.run_as.pw_uid}", f"--regid={self.run_as.pw_gid}", "--clear-groups",
                *command]

    def _may_enter(self):
        self._hand_over(self.folder)
        return subprocess.run(self._as_user("test", "-w", self.folder), check=False, cwd="/",
                              env={"PATH": SEARCH_PATH}).returncode == 0

    def _hand_over(self, path):
        if self.run_as:
            os.chown(path, self.run_as.pw_uid, self.run_as.pw_gid)

    @property
    def dsn(self):
        """Connection string by unix socket."""
        return f"host={self.socket_folder} port={self.port} dbname={self.database} user={self.user}"

    @property
    def tcp_dsn(self):
        return f"host={HOST} port={self.port} dbname={self.database} user={self.user}"

    def prepare(self):
        if not os.path.exists(os.path.join(self.data, "PG_VERSION")):
            shutil.rmtree(self.data, ignore_errors=True)
            os.mkdir(self.data, 0o700)
            self._hand_over(self.data)
            if self.pristine == "":
                Postgres.pristine = self._make_pristine()
            if self.pristine:
                self._run("cp", "-a", f"{self.pristine}/.", self.data)
            else:
                self._initdb(self.data)
        method = "scram-sha-256" if self.password else "trust"
        self._give(os.path.join(self.data, "pg_hba.conf"),
                   f"local all all trust\nhost all all 127.0.0.1/32 {method}\n")
        lines = [
            f"listen_addresses = '{HOST if self.tcp else ''}'", f"port = {self.port}",
            f"unix_socket_directories = '{self.socket_folder}'", "unix_socket_permissions = 0700",
            f"fsync = {'on' if self.fsync else 'off'}", f"full_page_writes = {'on' if self.fsync else 'off'}",
            "shared_buffers = 32MB", "max_connections = 40", "max_wal_size = 256MB", "timezone = 'UTC'",
            # Shared segments in the data folder: a killed server leaves nothing in /dev/shm.
            "dynamic_shared_memory_type = mmap", "log_line_prefix = '%m [%p] '", "lc_messages = 'C'",
        ]
        if self.tls:
            self.certificates = self.certificates or make_certificates(self.folder)
            for name in ("server_cert", "server_key"):
                with open(self.certificates[name], encoding="ascii") as f:
                    self._give(os.path.join(self.data, name), f.read())
            lines += ["ssl = on", "ssl_cert_file = 'server_cert'", "ssl_key_file = 'server_key'"]
        lines += self.config.splitlines()
        self._give(os.path.join(self.data, "postgresql.conf"), "\n".join(lines) + "\n")

    def _initdb(self, folder, *options):
        # C.UTF-8 is built into Debian's C library: no locale has to be generated.
        self._run(find_program("initdb", "postgresql-15"), "-D", folder, "-U", self.user, "-A", "trust",
                  "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", *options)

    @staticmethod
    def keep_pristine():
        """For a process that starts many: initdb once, then copy.

        With LATIDO_PRISTINE in the environment, a path in a folder that the user of PostgreSQL can
        enter, all processes that have it copy the same one; whoever set it removes it.
        """
        Postgres.pristine = Postgres.pristine or ""

    def _make_pristine(self):
        shared = os.environ.get("LATIDO_PRISTINE")
        if not shared:
            folder = private_folder("latido-pg-", "/tmp")
            self._fill_pristine(folder)
            return folder
        with open(shared + ".lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.exists(shared):
                unfinished = tempfile.mkdtemp(dir=os.path.dirname(shared))
                self._fill_pristine(unfinished)
                os.rename(unfinished, shared)
        return shared

    def _fill_pristine(self, folder):
        """An unused cluster with the database; small, for what is copied is copied often."""
        self._hand_over(folder)
        self._initdb(folder, "--wal-segsize=1")
        self._run(find_program("postgres", "postgresql-15"), "--single", "-D", folder, "postgres",
                  stdin=f'CREATE DATABASE "{self.database}"\n')

    def _give(self, path, text):
        """Write a file that PostgreSQL may read."""
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as f:
            f.write(text)
        self._hand_over(path)

    def _run(self, *command, stdin=""):
        with open(self.log, "ab") as log:
            code = subprocess.run(self._as_user(*command), input=stdin.encode(), stdout=log, stderr=log,
                                  cwd="/", check=False).returncode
        if code:
            raise ServerError(f"{os.path.basename(command[0])} failed with code {code}:\n{self.log_tail()}")

    def command(self):
        return self._as_user(find_program("postgres", "postgresql-15"), "-D", self.data)

    def _start_once(self):
        self._wait_for_orphans()
        guard_segment(os.path.join(self.data, "postmaster.pid"))
        super()._start_once()
        if not self.sql("SELECT 1 FROM pg_database WHERE datname = $$" + self.database + "$$", "postgres"):
            self.sql(f'CREATE DATABASE "{self.database}"', "postgres")
        if self.password:
            self.sql(f"ALTER ROLE {self.user} PASSWORD $pw${self.password}$pw$", "postgres")

    def _wait_for_orphans(self):
        """Backends of a killed postmaster end by themselves; a new one refuses to start before."""
        segment = self._segment()
        if segment is None:
            return
        def attached():
            with open("/proc/sysvipc/shm", encoding="ascii") as f:
                return [row for line in f.readlines()[1:] if int((row := line.split())[1]) == segment
                        and int(row[6])]
        try:
            wait_until(lambda: not attached(), STOP_SECONDS, "old backends gone")
        except TimeoutError:
            raise ServerError("backends of the killed PostgreSQL are still there") from None

    def _segment(self):
        """Number of the SysV segment that a (killed) postmaster of this data folder made."""
        return guard.segment_of(os.path.join(self.data, "postmaster.pid"))

    def answers(self):
        """A startup packet; ready when the answer asks for or grants authentication."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(2)
            s.connect(os.path.join(self.socket_folder, f".s.PGSQL.{self.port}"))
            body = b"\0\3\0\0user\0" + self.user.encode() + b"\0database\0postgres\0\0"
            s.sendall(struct.pack(">I", len(body) + 4) + body)
            ready = s.recv(1) == b"R"
            s.sendall(b"X\0\0\0\4")
            return ready

    def sql(self, text, database=None):
        """Rows as tuples of text (NULL is ''); ServerError with PostgreSQL's message."""
        try:
            return query(os.path.join(self.socket_folder, f".s.PGSQL.{self.port}"), self.user,
                         database or self.database, text)
        except QueryError as e:
            raise ServerError(str(e)) from None

    def create_database(self, name):
        """A further, empty database; returns its connection string."""
        self.sql(f'CREATE DATABASE "{name}"', "postgres")
        return f"host={self.socket_folder} port={self.port} dbname={name} user={self.user}"

    def _drop_segment(self):
        """What a killed postmaster leaves outside its folder."""
        if not self.running():
            guard.drop_segment(os.path.join(self.data, "postmaster.pid"))

    def forget(self):
        self._wait_for_orphans()
        self._drop_segment()
        shutil.rmtree(self.data, ignore_errors=True)

    def close(self):
        if self.running():
            # "immediate" instead of SIGKILL: it removes its shared memory, and is as quick.
            self.resume()
            tree = self.tree()
            self.process.send_signal(signal.SIGQUIT)
            wait_gone(tree[1:], 10)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        self.kill()
        self._drop_segment()
        for folder in {self.outside, self.socket_folder} - {None, self.folder}:
            remove_folder(folder)
