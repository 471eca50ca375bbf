#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Messages a second that latido-bridge carries from a full MQTT queue to Kafka, and their CPU time.

Beside it a bare loop on the same servers: paho's callback hands each message to librdkafka (idempotent,
acks=all, zstd, the same linger) and returns. It decodes nothing, keeps nothing for a crash, drops no
duplicates and acknowledges to nobody, which is what the bridge adds.
"""

import os
import subprocess

import bench
import servers
from bench import BIN, TOOLS
from flow import Flow, fill, load_config


class Bare:
    """The loop, with a session, a prefix and a Kafka topic of its own."""

    def __init__(self, folder, name, broker, kafka, sources, values):
        self.name, self.broker, self.sources, self.values, self.seq = name, broker, sources, values, 0
        self.kafka = kafka.servers()
        self.load_config = load_config(folder, name, {"url": broker.url, "prefix": name + "/v1"})
        topics = bench.write_config(folder, name + "-topics", {"bus": {"url": kafka.url, "kafka": {"topic": name}}})
        subprocess.run([os.path.join(BIN, "latido"), "topics", "create", "-c", topics], check=True,
                       stdout=subprocess.DEVNULL)
        self.run(0)

    def run(self, messages):
        return bench.run_json(os.path.join(TOOLS, "bridge_bare"), f"tcp://{servers.HOST}:{self.broker.port}",
                              f"{self.name}/v1/nodes/+/metrics", self.name, self.kafka, self.name, messages)

    def measure(self, events):
        fill(self.load_config, self.sources, events, self.values, self.seq + 1)
        self.seq += events
        done = self.run(events * self.sources)
        return done["messages"] / done["seconds"]


def main():
    b = bench.Bench("bridge", __doc__, rounds=3, seconds=1, extra=[
        ("--values", {"type": int, "nargs": "+", "default": [60, 400]})])
    sources = 100
    with bench.Folder() as folder, servers.Mosquitto(folder, queue_bytes=4 << 30) as broker, \
            bench.need_kafka()(folder, heap="512m", optimise=True) as kafka:
        cases = []
        for values in b.args.values:
            name = f"bridge{values}"
            flow = Flow(folder, name, "latido-bridge", kafka.url, sources, values, "latido_bridge_delivered_total", {
                "bridge": {"admin": "127.0.0.1:0", "mqtt_url": broker.url}},
                {"Mosquitto": broker.pid, "Kafka": kafka.brokers[0].pid}, mqtt=broker.url)
            cases.append((values, flow, Bare(folder, f"bare{values}", broker, kafka, sources, values)))
        for number in range(1, b.rounds + 1):
            for values, flow, bare in cases:
                events = max(1, round((2e6 if values > 100 else 1e6) * b.seconds / values / sources))
                case = f"{values} values an event, {sources} sources"
                rate, cpu = flow.measure(events)
                b.result(1, case, "latido-bridge", "messages/s", rate, number)
                for process, seconds in cpu.items():
                    b.result(1, case, f"latido-bridge: {process}", "CPU s/M messages", seconds, number)
                b.result(1, case, "bare paho to librdkafka", "messages/s", bare.measure(events), number, "ceiling")
        for _, flow, _ in cases:
            flow.close()


if __name__ == "__main__":
    main()
