#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Private Mosquitto, Redis and PostgreSQL servers in a folder of the caller.

For tests and for `make demo`: own processes on free loopback ports or unix sockets, own data,
nothing of the system's instances is touched. Only the standard library is used.

    with Mosquitto(folder) as broker, Redis(folder) as redis, Postgres(folder) as pg:
        ... broker.url, redis.url, pg.dsn ...
        broker.kill()       # SIGKILL
        broker.restart()    # the same port, the same data; empty=True forgets the data

As a program it runs all three until Ctrl-C and prints how to reach them:

    infra/local/servers.py FOLDER

start() returns when the server answers its own protocol, or raises ServerError with the end of the
server's log. Whatever happens to the calling process, guard.py ends the servers with it.
"""

import atexit
import glob
import os
import pwd
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import guard  # noqa: E402  pylint: disable=wrong-import-position

HOST = "127.0.0.1"
START_SECONDS = 60
STOP_SECONDS = 60
# Also where daemons are that an ordinary user's PATH does not name.
SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"


class ServerError(Exception):
    """A server did not start, stop or answer; the message ends with the tail of its log."""


def find_program(name, package):
    """Path of a program; says which Debian package has it when it is missing."""
    if name in ("postgres", "initdb", "psql", "createdb"):
        found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda p: int(p.split("/")[4]))
        if found:
            return found[-1]
    path = shutil.which(name, path=SEARCH_PATH)
    if not path:
        raise ServerError(f"{name} is not installed: it is in the Debian package {package} (make deps)")
    return path


class Guard:
    """One guard.py for this process; started when the first thing is listed."""

    def __init__(self):
        self.process = None

    def tell(self, line):
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, os.path.abspath(guard.__file__)],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True, text=True, bufsize=1)
            atexit.register(self.close)
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def close(self):
        """Ends the guard: what is still listed goes now."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process = None


_guard = Guard()


def guard_process(pid):
    """From now on the process ends with this one, at the latest."""
    start = guard.start_time(pid)
    if start is not None:
        _guard.tell(f"+pid {pid} {start}")


def unguard_process(pid):
    _guard.tell(f"-pid {pid}")


def private_folder(prefix="latido-", parent=None):
    """A new folder (mode 0700) that is removed when this process ends, at the latest."""
    path = tempfile.mkdtemp(prefix=prefix, dir=parent)
    _guard.tell(f"+dir {path}")
    return path


def remove_folder(path):
    shutil.rmtree(path, ignore_errors=True)
    _guard.tell(f"-dir {path}")


def port_is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port():
    """A TCP port on the loopback that nothing uses.

    Below the ephemeral range: while a server is down during a restart, no outgoing connection can
    be given its port.
    """
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        top = max(int(f.read().split()[0]), 20000)
    for _ in range(200):
        port = random.randrange(10000, top)
        if port_is_free(port):
            return port
    raise ServerError("no free TCP port on 127.0.0.1 found in 200 tries")


def wait_until(condition, seconds, what):
    """Poll until condition() is true and return its value; TimeoutError after the deadline."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def wait_gone(processes, seconds):
    """Wait until none of the (pid, start time) pairs lives; True if so."""
    try:
        wait_until(lambda: all(guard.start_time(pid) != start for pid, start in processes),
                   seconds, "processes gone")
    except TimeoutError:
        return False
    return True


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


class Server:
    """What the three have in common; one process tree, one folder, one log file."""

    name = "server"
    stop_signal = signal.SIGTERM
    stop_codes = (0,)

    def __init__(self, folder):
        self.folder = os.path.join(os.path.abspath(folder), self.name)
        os.makedirs(self.folder, exist_ok=True)
        self.log = os.path.join(self.folder, "log")
        self.port = 0
        self.port_is_ours = True  # chosen by us: another one will do when it is taken
        self.process = None
        self.start_time = None

    # What a subclass provides.

    def prepare(self):
        """Write the configuration and create the data where there is none."""

    def command(self):
        """The command line as a list."""
        raise NotImplementedError

    def answers(self):
        """Speak the protocol once; True when the server is ready for clients."""
        raise NotImplementedError

    def forget(self):
        """Remove the data; the server is not running."""

    # The life of a server.

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def pid(self):
        return self.process.pid if self.process else None

    def running(self):
        """True while the process lives (also while it is paused)."""
        return self.process is not None and self.process.poll() is None

    def start(self):
        """Start and wait until it answers; a chosen port that was taken meanwhile is replaced."""
        if self.running():
            raise ServerError(f"{self.name} is running already")
        for attempt in range(5):
            if not self.port:
                self.port = free_port()
            if not self.port_is_ours and not port_is_free(self.port):
                raise ServerError(f"{self.name}: port {self.port} on {HOST} is in use by another program")
            log_size = os.path.getsize(self.log) if os.path.exists(self.log) else 0
            try:
                self._start_once()
                self.port_is_ours = False  # clients know it by now: a restart keeps it
                return self
            except ServerError:
                if not self.port_is_ours or attempt == 4 or not self._port_was_taken(log_size):
                    raise
                self.port = 0
        return self

    def _start_once(self):
        self.spawn()
        self.wait_ready()

    def spawn(self):
        """Start the process without waiting; wait_ready() has to follow."""
        self.prepare()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, cwd=self.folder, start_new_session=True)
        self.start_time = guard.start_time(self.process.pid)
        guard_process(self.process.pid)

    def wait_ready(self):
        """Wait until it answers; ServerError, and it is killed, when it does not."""
        def ready():
            if self.process.poll() is not None:
                raise ServerError(f"{self.name} ended with code {self.process.returncode} while starting; "
                                  f"its log ends:\n{self.log_tail()}")
            try:
                return self.answers()
            except (OSError, EOFError, struct.error):
                return False

        try:
            wait_until(ready, START_SECONDS, f"{self.name} answers")
        except (TimeoutError, ServerError) as e:
            self.kill()
            if isinstance(e, ServerError):
                raise
            raise ServerError(f"{self.name} did not answer within {START_SECONDS} s; its log ends:\n"
                              f"{self.log_tail()}") from None

    def _port_was_taken(self, log_size):
        with open(self.log, "rb") as f:
            f.seek(log_size)
            return b"already in use" in f.read()

    def tree(self):
        """(pid, start time) of the process and all its descendants."""
        if not self.running():
            return []
        pids = [self.process.pid] + guard.descendants(self.process.pid)
        return [(pid, start) for pid in pids if (start := guard.start_time(pid)) is not None]

    def kill(self, children=True):
        """SIGKILL. children=False: only the main process; returns when that one is gone."""
        if self.process is None:
            return
        tree = self.tree()
        if self.running():
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        _guard.tell(f"-pid {self.process.pid}")
        self.process = None
        left = [pid for pid, start in tree if guard.start_time(pid) == start]
        guard.send(left, signal.SIGKILL if children else signal.SIGCONT)
        if children:
            if not wait_gone(tree, STOP_SECONDS):
                raise ServerError(f"processes of {self.name} survived SIGKILL: {tree}")

    def stop(self):
        """Regular shutdown; ServerError when it does not end or ends with an error."""
        if self.process is None:
            return
        tree = self.tree()
        if self.running():
            self.resume()
            os.kill(self.process.pid, self.stop_signal)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerError(f"{self.name} did not stop within {STOP_SECONDS} s; its log ends:\n"
                              f"{self.log_tail()}") from None
        _guard.tell(f"-pid {self.process.pid}")
        self.process = None
        wait_gone(tree, STOP_SECONDS)
        if code not in self.stop_codes:
            raise ServerError(f"{self.name} stopped with code {code}; its log ends:\n{self.log_tail()}")

    def restart(self, empty=False):
        """Stop (if it runs) and start on the same port; empty=True: as if newly installed."""
        self.stop()
        if empty:
            self.forget()
        return self.start()

    def pause(self):
        """SIGSTOP for the whole tree: connections stay open and nothing answers."""
        os.kill(self.process.pid, signal.SIGSTOP)
        guard.send(guard.descendants(self.process.pid), signal.SIGSTOP)

    def resume(self):
        guard.send(guard.descendants(self.process.pid), signal.SIGCONT)
        os.kill(self.process.pid, signal.SIGCONT)

    def close(self):
        """End it for good, quickly, and remove what it left outside its folder."""
        self.kill()

    def log_tail(self, lines=20):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return "".join(f.readlines()[-lines:]).rstrip()
        except OSError:
            return "(no log)"

    def write(self, name, text, mode=0o600):
        path = os.path.join(self.folder, name)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as f:
            f.write(text)
        return path


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
        self.tls_port = tls_port
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
            self.tls_port = self.tls_port or free_port()
            c = self.certificates
            lines += [f"listener {self.tls_port} {HOST}", f"cafile {c['ca']}", f"certfile {c['server_cert']}",
                      f"keyfile {c['server_key']}"]
            if self.tls == "require":
                lines.append("require_certificate true")
        self.write("mosquitto.conf", "\n".join(lines) + "\n")

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


class Redis(Server):
    """A Redis server on a loopback port and a unix socket, without persistence by default.

    password: required of the default user. persistence: append-only file, fsynced always.
    """

    name = "redis"

    def __init__(self, folder, password=None, persistence=False, config="", port=0):
        super().__init__(folder)
        self.password, self.persistence, self.config = password, persistence, config
        self.port, self.port_is_ours = port, not port
        self.data = os.path.join(self.folder, "data")
        self.socket_folder = short_folder(self.folder, "redis.sock")
        self.socket = os.path.join(self.socket_folder, "redis.sock")

    @property
    def url(self):
        return f"redis://{HOST}:{self.port}/0"

    @property
    def unix_url(self):
        return f"unix://{self.socket}"

    def prepare(self):
        os.makedirs(self.data, exist_ok=True)
        lines = [
            f"bind {HOST}", f"port {self.port}", f"unixsocket {self.socket}", "unixsocketperm 700",
            f"dir {self.data}", "daemonize no", 'save ""', 'logfile ""', "databases 4",
            # Large hashes as tables: a 500-field HSET takes 1100 us as the default listpack, 99 us so.
            "hash-max-listpack-entries 32",
            f"appendonly {'yes' if self.persistence else 'no'}", "appendfsync always",
            "client-output-buffer-limit pubsub 64mb 16mb 60",
        ]
        if self.password:
            lines.append(f"requirepass {self.password}")
        lines += self.config.splitlines()
        self.write("redis.conf", "\n".join(lines) + "\n")

    def command(self):
        return [find_program("redis-server", "redis-server"), os.path.join(self.folder, "redis.conf")]

    def answers(self):
        with RedisConnection(self) as connection:
            return connection.call("PING") == "PONG"

    def call(self, *args):
        """One command on a connection of its own; see RedisConnection.call()."""
        with RedisConnection(self) as connection:
            return connection.call(*args)

    def forget(self):
        shutil.rmtree(self.data, ignore_errors=True)

    def close(self):
        super().close()
        if self.socket_folder != self.folder:
            remove_folder(self.socket_folder)


class RedisConnection:
    """Just enough of a Redis client to look at what is there: RESP2, blocking, text."""

    def __init__(self, server, timeout=10):
        self.sock = socket.create_connection((HOST, server.port), timeout)
        self.file = self.sock.makefile("rb")
        if server.password:
            self.call("AUTH", server.password)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()

    def call(self, *args):
        """Returns str, int, None or a list of them; ServerError for an error reply."""
        parts = [a if isinstance(a, bytes) else str(a).encode() for a in args]
        self.sock.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        return self.read()

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"-":
            if rest.startswith(b"LOADING"):
                raise EOFError("redis is loading")
            raise ServerError("redis: " + rest.decode(errors="replace"))
        size = int(rest)
        if size < 0:
            return None
        if kind == b"*":
            return [self.read() for _ in range(size)]
        data = self.file.read(size + 2)
        if len(data) != size + 2:
            raise EOFError("redis closed the connection")
        return data[:-2].decode(errors="surrogateescape")


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
                folder = private_folder("latido-pg-", "/tmp")
                self._hand_over(folder)
                self._initdb(folder)
                Postgres.pristine = folder
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

    def _initdb(self, folder):
        # C.UTF-8 is built into Debian's C library: no locale has to be generated.
        self._run(find_program("initdb", "postgresql-15"), "-D", folder, "-U", self.user, "-A", "trust",
                  "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")

    @staticmethod
    def keep_pristine():
        """For a process that starts many: initdb once, then copy."""
        Postgres.pristine = Postgres.pristine or ""

    def _give(self, path, text):
        """Write a file that PostgreSQL may read."""
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as f:
            f.write(text)
        self._hand_over(path)

    def _run(self, *command):
        with open(self.log, "ab") as log:
            code = subprocess.run(self._as_user(*command), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                  cwd="/", check=False).returncode
        if code:
            raise ServerError(f"{os.path.basename(command[0])} failed with code {code}:\n{self.log_tail()}")

    def command(self):
        return self._as_user(find_program("postgres", "postgresql-15"), "-D", self.data)

    def _start_once(self):
        self._wait_for_orphans()
        _guard.tell(f"+shm {os.path.join(self.data, 'postmaster.pid')}")
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

    def sql(self, query, database=None):
        """Rows as tuples of text (NULL is ''), by psql; ServerError with PostgreSQL's message."""
        result = subprocess.run(
            [find_program("psql", "postgresql-15"), "-XAtq", "-F", "\x1f", "-R", "\x1e", "-v", "ON_ERROR_STOP=1",
             "-d", f"host={self.socket_folder} port={self.port} user={self.user} dbname={database or self.database}",
             "-c", query],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
            cwd="/", env={**os.environ, "PGCONNECT_TIMEOUT": "10"})
        if result.returncode:
            raise ServerError(result.stderr.strip())
        text = result.stdout.removesuffix("\n")
        return [tuple(row.split("\x1f")) for row in text.split("\x1e")] if text else []

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
            os.kill(self.process.pid, signal.SIGQUIT)
            wait_gone(tree[1:], 10)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        self.kill()
        self._drop_segment()
        for folder in {self.outside, self.socket_folder} - {None, self.folder}:
            remove_folder(folder)


def short_folder(folder, longest_name):
    """The folder itself, or a new one under /tmp where a unix socket's path would be too long."""
    if len(os.path.join(os.path.abspath(folder), longest_name).encode()) < 108:
        return os.path.abspath(folder)
    return private_folder("latido-", "/tmp")


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(f"usage: {sys.argv[0]} FOLDER\nruns a private Mosquitto, Redis and PostgreSQL until Ctrl-C",
              file=sys.stderr)
        return 2
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda *_: sys.exit(0))
    try:
        with Mosquitto(sys.argv[1], persistence=True) as broker, Redis(sys.argv[1]) as redis, \
                Postgres(sys.argv[1], fsync=True) as postgres:
            print(f"bus.url: {broker.url}\nredis.url: {redis.url}\npostgres.dsn: {postgres.dsn}", flush=True)
            signal.pause()
    except ServerError as e:
        print(f"{sys.argv[0]}: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
