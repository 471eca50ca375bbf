# SPDX-License-Identifier: MIT
"""A private Redis, and a client that is enough to look into it; see servers.py."""

import os
import shutil
import socket

from server_base import HOST, Server, ServerError, find_program, remove_folder, short_folder


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
