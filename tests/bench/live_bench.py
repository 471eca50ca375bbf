#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""CPU and memory of latido-live with many streaming clients; run by `make bench-live`.

    LATIDO_BIN=build/release/bin tests/bench/live_bench.py [CLIENTS] [NODES] [SECONDS]

1000 clients watch 100 nodes at one event a second; 20 of them stop reading. CPU is of one core, from
the process's ticks while events flow.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "infra", "local")]

import servers  # noqa: E402
from programs import Program, yaml_config  # noqa: E402

BIN = os.path.abspath(os.environ.get("LATIDO_BIN") or os.path.join(ROOT, "build", "release", "bin"))


def usage(pid):
    """(CPU seconds, resident bytes) of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return ((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))


def main():
    clients, nodes, seconds = [int(a) for a in sys.argv[1:]] + [1000, 100, 20][len(sys.argv) - 1:]
    with tempfile.TemporaryDirectory(prefix="latido-bench-") as folder, servers.Redis(folder) as redis:
        config = os.path.join(folder, "latido.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(yaml_config({"redis": {"url": redis.url}, "postgres": {"dsn": "host=127.0.0.1 port=1"},
                                    "live": {"admin": "127.0.0.1:0", "listen": "127.0.0.1:0", "auth": "none"}}))
        live = Program(BIN, "latido-live", folder, config=config).start()
        try:
            port = live.wait_log("listening")["port"]
            idle = usage(live.pid)[1]
            samples, done = [], threading.Event()

            def watch():
                while not done.wait(0.5):
                    samples.append((time.monotonic(), *usage(live.pid)))
            watcher = threading.Thread(target=watch)
            watcher.start()
            run = subprocess.run([os.path.join(os.path.dirname(BIN), "tools", "live_clients"), port, redis.url,
                                  str(clients), "20", str(nodes), str(seconds)], stdout=subprocess.PIPE, text=True,
                                 check=False)
            done.set()
            watcher.join()
            result = json.loads(run.stdout)
            middle = samples[len(samples) // 4:]
            cpu = (middle[-1][1] - middle[0][1]) / (middle[-1][0] - middle[0][0])
            print(f"{clients} clients (20 stopped), {nodes} nodes, {seconds} s: CPU {100 * cpu:.1f} % of one core, "
                  f"memory {idle / 2**20:.1f} MiB idle, {max(s[2] for s in samples) / 2**20:.1f} MiB at most")
            print(f"  events to a client {result['sent']}, received {result['received']}, declared skips "
                  f"{result['skipped']}, clients with anything missing {result['wrong']}; event to client "
                  f"p50 {result['p50_ms']:.0f} ms, p99 {result['p99_ms']:.0f} ms")
            live.terminate()
            return run.returncode
        finally:
            live.kill()


if __name__ == "__main__":
    sys.exit(main())
