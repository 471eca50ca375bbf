# SPDX-License-Identifier: MIT
"""A TCP relay whose link can be cut and slowed: a process of its own, told what to do on stdin.

    relay.py HOST PORT     prints the port that it listens on

    cut       close all connections and refuse new ones
    hang      accept and keep connections, and move nothing
    slow N    move N bytes a second in each direction of each connection
    heal      as at the start
"""

import asyncio
import sys


class Relay:
    def __init__(self, host, port):
        self.host, self.port = host, port
        self.healed = asyncio.Event()
        self.healed.set()
        self.refuse, self.rate = False, 0
        self.writers = set()

    async def copy(self, reader, writer):
        try:
            while True:
                data = await reader.read(4096 if not self.rate else max(1, min(4096, self.rate // 10)))
                if not data:
                    break
                await self.healed.wait()
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(self, reader, writer):
        if self.refuse:
            writer.close()
            return
        try:
            other_reader, other_writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.close()
            return
        pair = {writer, other_writer}
        self.writers |= pair
        await asyncio.gather(self.copy(reader, other_writer), self.copy(other_reader, writer))
        self.writers -= pair

    def order(self, words):
        if words[0] == "cut":
            self.refuse = True
            for writer in self.writers:
                writer.transport.abort()
        elif words[0] == "hang":
            self.healed.clear()
        elif words[0] == "slow":
            self.rate = int(words[1])
        elif words[0] == "heal":
            self.refuse, self.rate = False, 0
            self.healed.set()

    async def run(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        stdin = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
        while line := await stdin.readline():
            self.order(line.decode().split())


asyncio.run(Relay(sys.argv[1], int(sys.argv[2])).run())
