# SPDX-License-Identifier: MIT
"""One query to a PostgreSQL on a unix socket, by its own protocol (version 3.0).

A psql for each query costs several times the processor time of the query: tests that wait for rows
ask again and again.
"""

import socket
import struct

CONNECT_SECONDS = 10


class QueryError(Exception):
    """The server refused, or is not there; the message is the server's."""


class _Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(CONNECT_SECONDS)
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise
        self.stream = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def send(self, kind, body):
        self.socket.sendall(kind + struct.pack(">I", len(body) + 4) + body)

    def exactly(self, count):
        data = self.stream.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def message(self):
        kind, size = struct.unpack(">cI", self.exactly(5))
        return kind, self.exactly(size - 4)


def _complaint(body):
    """What psql would print of an ErrorResponse."""
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    lines = [f"{fields.get(b'S', 'ERROR')}:  {fields.get(b'M', '')}"]
    lines += [f"{label}:  {fields[code]}" for code, label in ((b"D", "DETAIL"), (b"H", "HINT"), (b"W", "CONTEXT"))
              if code in fields]
    return "\n".join(lines)


def _row(body):
    """The values of a DataRow as text; NULL is ''."""
    values, at = [], 2
    for _ in range(struct.unpack_from(">h", body)[0]):
        size = struct.unpack_from(">i", body, at)[0]
        at += 4
        values.append(body[at:at + size].decode(errors="replace") if size > 0 else "")
        at += max(size, 0)
    return tuple(values)


def _until_ready(connection):
    """Rows that come before the server is ready for a query; QueryError when it complained."""
    rows, complaint = [], None
    while True:
        try:
            kind, body = connection.message()
        except EOFError:
            raise QueryError(complaint or "the server closed the connection unexpectedly") from None
        if kind == b"D":
            rows.append(_row(body))
        elif kind == b"E":
            complaint = complaint or _complaint(body)
        elif kind == b"R" and body != b"\0\0\0\0":
            raise QueryError("the server asks for a password")
        elif kind == b"G":
            raise QueryError("COPY FROM STDIN has no data here")
        elif kind == b"Z":
            if complaint:
                raise QueryError(complaint)
            return rows


def query(path, user, database, text):
    """All rows of all statements of the text, as tuples of text (NULL is '')."""
    try:
        with _Connection(path) as connection:
            names = ("user", user, "database", database, "client_encoding", "UTF8", "application_name", "query")
            connection.socket.sendall(_startup(names))
            _until_ready(connection)
            connection.socket.settimeout(None)
            connection.send(b"Q", text.encode() + b"\0")
            rows = _until_ready(connection)
            connection.send(b"X", b"")
            return rows
    except OSError as e:
        raise QueryError(f"{path}: {e.strerror or e}") from None


def _startup(names):
    body = struct.pack(">I", 3 << 16) + b"".join(name.encode() + b"\0" for name in names) + b"\0"
    return struct.pack(">I", len(body) + 4) + body
