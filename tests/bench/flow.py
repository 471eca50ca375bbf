# SPDX-License-Identifier: MIT
"""A consumer and its bus for benchmarks: it is stopped, its queue or topic is filled, then it is let go."""

import os
import signal
import subprocess
import time

import bench
import servers
from bench import BIN, TOOLS, tree_cpu_seconds
from programs import Program

EPOCH = 1763700000000000
FULL_S = 120  # to fill or empty a queue on a busy machine


def load_config(folder, name, bus):
    """The configuration of what fills a queue or topic."""
    return bench.write_config(folder, name + "-load", {"bus": {**bus, "mqtt": {
        "client_id": name + "-load", "max_inflight": 1000}}})


def fill(config, sources, events, values, first):
    """So many events of each source, from the number first on, as fast as the broker takes them."""
    done = bench.run_json(os.path.join(TOOLS, "bus_load"), config, sources, events, values, EPOCH, 0, first)
    if done["failed"]:
        raise servers.ServerError("the broker refused events")


class Flow:
    """One consumer with a place of its own on the bus; its sources are n0, n1, ...

    pids: name -> process (with descendants) whose CPU time counts. sections: the consumer's
    configuration beside bus. counter: its metric of values done. mqtt: for the bridge, which reads
    there and writes to bus; its counter is one of messages, and so are all figures then.
    """

    def __init__(self, folder, name, program, bus, sources, values, counter, sections, pids, mqtt=None):
        self.sources, self.values, self.counter = sources, values, counter
        self.counted = 1 if mqtt else values
        self.seq, self.pids = 0, pids
        if mqtt:
            self.bus = {"url": bus, "prefix": name + "/v1", "kafka": {"topic": name}, "mqtt": {"client_id": name}}
        elif bus.startswith("kafka"):
            self.bus = {"url": bus, "kafka": {"topic": name, "group": name}}
        else:
            self.bus = {"url": bus, "prefix": name + "/v1", "mqtt": {"client_id": name}}
        self.load_config = load_config(folder, name, {**self.bus, **({"url": mqtt} if mqtt else {})})
        config = bench.write_config(folder, name, {"bus": self.bus, **sections})
        if bus.startswith("kafka"):
            subprocess.run([os.path.join(BIN, "latido"), "topics", "create", "-c", config], check=True,
                           stdout=subprocess.DEVNULL)
        self.consumer = Program(BIN, program, folder, label=name, config=config)
        self.consumer.start().wait_ready()
        self.pids = {program: self.consumer.pid, **pids}
        self.send(1)  # every source and shape is known from here on
        self.wait_for(sources * self.counted)

    def done(self):
        return self.consumer.value(self.counter)

    def wait_for(self, values):
        self.consumer.wait(lambda: self.done() >= values, FULL_S, f"{values} values")

    def send(self, events):
        """So many of each source, as fast as the broker takes them."""
        fill(self.load_config, self.sources, events, self.values, self.seq + 1)
        self.seq += events

    def measure(self, events):
        """(values a second, {process: CPU seconds a million values}) of emptying a queue of so many events a source."""
        before = self.done()
        total = events * self.sources * self.counted
        self.consumer.signal(signal.SIGSTOP)
        try:
            self.send(events)
            cpu = {name: tree_cpu_seconds(pid) for name, pid in self.pids.items()}
            begun = time.monotonic()
        finally:
            self.consumer.signal(signal.SIGCONT)
        while True:
            now, done = time.monotonic(), self.done() - before
            if done >= total:
                break
            if now - begun > FULL_S or not self.consumer.running():
                raise servers.ServerError(f"{self.consumer.label}: {done:.0f} of {total} values; its log ends:\n"
                                          f"{self.consumer.log_tail()}")
            time.sleep(0.02)
        return total / (now - begun), {name: (tree_cpu_seconds(pid) - cpu[name]) / total * 1e6
                                       for name, pid in self.pids.items()}

    def close(self):
        self.consumer.terminate()
