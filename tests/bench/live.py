#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""CPU and memory of latido-live with many streaming clients.

1000 clients watch 100 nodes at one event a second; 20 of them stop reading. CPU is of one core, from
the process's CPU time while events flow.
"""

import json
import os
import subprocess
import sys
import threading
import time

import bench
import servers
from bench import BIN, TOOLS
from programs import Program

STOPPED = 20


def one_round(b, number):
    clients, nodes = b.args.clients, b.args.nodes
    with bench.Folder() as folder, servers.Redis(folder) as redis:
        live = Program(BIN, "latido-live", folder, config=bench.write_config(folder, "latido", {
            "redis": {"url": redis.url}, "postgres": {"dsn": "host=127.0.0.1 port=1"},
            "live": {"admin": "127.0.0.1:0", "listen": "127.0.0.1:0", "auth": "none"}})).start()
        port = live.wait_log("listening")["port"]
        idle = bench.memory_kb(live.pid)["VmRSS"]
        samples, done = [], threading.Event()

        def watch():
            while not done.wait(0.5):
                samples.append((time.monotonic(), bench.cpu_seconds(live.pid), bench.memory_kb(live.pid)["VmRSS"]))
        watcher = threading.Thread(target=watch)
        watcher.start()
        run = subprocess.run([os.path.join(TOOLS, "live_clients"), port, redis.url, str(clients), str(STOPPED),
                              str(nodes), str(int(b.seconds))], stdout=subprocess.PIPE, text=True, check=False)
        done.set()
        watcher.join()
        live.terminate()
    result = json.loads(run.stdout)
    middle = samples[len(samples) // 4:]
    case = f"{clients} clients, {STOPPED} of them stopped; {nodes} nodes at one event a second"
    b.result("live", case, "latido-live", "% of a core",
             (middle[-1][1] - middle[0][1]) / (middle[-1][0] - middle[0][0]) * 100, number)
    b.result("live", case, "latido-live, no client yet", "MiB resident", idle / 1024, number)
    b.result("live", case, "latido-live, at most", "MiB resident", max(s[2] for s in samples) / 1024, number)
    for q in ("p50", "p99"):
        b.result("live", case, f"event to client, {q}", "ms", result[q + "_ms"], number)
    b.result("live", case, "events left out, as declared", "events", result["skipped"], number)
    b.result("live", case, "clients with anything missing", "clients", result["wrong"], number)
    return run.returncode


def main():
    b = bench.Bench("live", __doc__, rounds=2, seconds=10, extra=[
        ("--clients", {"type": int, "default": 1000}), ("--nodes", {"type": int, "default": 100})])
    return max(one_round(b, number) for number in range(1, b.rounds + 1))


if __name__ == "__main__":
    sys.exit(main())
