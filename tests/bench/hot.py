#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Values a second into Redis: the sink of latido-hot beside a bare loop (hot_bench.c), and latido-hot from a full MQTT queue."""

import os
import subprocess
import sys

import bench
import servers
from flow import Flow


def from_mqtt(b, folder, redis):
    """From the broker to Redis; hashes are written at most twice a second, as by default."""
    with servers.Mosquitto(folder, queue_bytes=4 << 30) as broker:
        flows = {values: Flow(folder, f"hot{values}", "latido-hot", broker.url, 100, values,
                              "latido_consumer_values_total", {"redis": {"url": redis.url}, "hot": {"admin": "127.0.0.1:0"}},
                              {"MQTT": broker.pid, "Redis": redis.pid}) for values in (60, 400)}
        for number in range(1, b.rounds + 1):
            for values, flow in flows.items():
                rate, cpu = flow.measure(max(1, round(2e6 * b.seconds / values / 100)))
                case = f"{values} values an event, 100 sources, from a full MQTT queue"
                b.result(2, case, "latido-hot", "values/s", rate, number)
                for process, seconds in cpu.items():
                    b.result(2, case, process, "CPU s/M values", seconds, number)
        for flow in flows.values():
            flow.close()


def main():
    b = bench.Bench("hot", __doc__, rounds=3, seconds=0.5)
    with bench.Folder() as folder, servers.Redis(folder) as redis:
        program = os.path.join(os.path.dirname(bench.BIN), "bench", "hot_bench")
        code = subprocess.run([program, "--rounds", str(b.rounds), "--seconds", str(b.seconds)],
                              env={**os.environ, "BENCH_REDIS_PORT": str(redis.port)}, check=False).returncode
        if code == 0:
            redis.call("FLUSHALL")
            from_mqtt(b, folder, redis)
        return code


if __name__ == "__main__":
    sys.exit(main())
