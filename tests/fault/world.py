# SPDX-License-Identifier: MIT
"""What the fault suite breaks: private servers, the daemons, many agents."""

import os
import signal
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "infra", "local"))

import servers  # noqa: E402
from kafka import Kafka  # noqa: E402
from programs import Program, yaml_config  # noqa: E402

BIN = os.path.abspath(os.environ.get("LATIDO_BIN") or os.path.join(ROOT, "build", "release", "bin"))
BEHIND_RELAY = 8  # agents whose link to the broker can be cut
ON_SMALL_DISK = 4  # agents whose spools are on a small file system
SMALL_DISK_BYTES = 16 << 20
PARTITIONS = 6
# mqtt: all on Mosquitto; kafka: agents and consumers on Kafka; bridge: agents on Mosquitto, consumers
# on Kafka, latido-bridge between the two.
BUSES = ("mqtt", "kafka", "bridge")


class Failed(Exception):
    pass


class Agent:
    def __init__(self, world, number):
        self.world, self.number = world, number
        self.source = f"n{number:03}"
        self.spool = os.path.join(world.small_disk if world.small_disk and number < ON_SMALL_DISK else world.folder,
                                  f"spool-{self.source}")
        self.program = None
        self.rolled_back = False
        self.control = os.path.join(world.folder, f"{self.source}.control")
        self.hours, self.no_room = 0, 0
        self.write_control()

    def write_control(self):
        """What tests/fault/shim.c reads: seconds that the clock is off, and whether writes fail."""
        with open(self.control, "r+b" if os.path.exists(self.control) else "wb") as f:
            f.write(struct.pack("qq", self.hours * 3600, self.no_room))

    def set_clock(self, hours):
        self.hours = hours
        self.write_control()

    def set_no_room(self, on):
        self.no_room = int(on)
        self.write_control()

    def start(self):
        relayed = self.number >= self.world.args.agents - BEHIND_RELAY
        config = os.path.join(self.world.folder, f"{self.source}.yaml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(yaml_config({
                "log": {"level": "info"},
                "bus": {"url": self.world.relay_url if relayed and self.world.relay_url else self.world.agent_url,
                        "mqtt": {"client_id": f"agent-{self.source}", "keepalive": "2s", "connect_timeout": "2s"},
                        "backoff_base": "100ms", "backoff_cap": "1s"},
                "agent": {"source": self.source, "interval": f"{self.world.args.interval}ms", "admin": "",
                          "collectors": ["loadavg", "stat"], "backlog_rate": 2000,
                          "spool": {"dir": self.spool, "max_bytes": "64MiB"}},
            }))
        env = {"LD_PRELOAD": self.world.shim, "LATIDO_SHIM_FILE": self.control} if self.world.shim else {}
        self.program = Program(BIN, "latido-agent", self.world.folder, config=config, env=env,
                               label=f"agent-{self.source}")
        self.program.start()

    def kill(self):
        self.program.signal(signal.SIGKILL)
        self.program.process.wait()


class World:
    def __init__(self, args, say):
        self.args, self.say = args, say
        self.folder = servers.private_folder("latido-fault-")
        os.chmod(self.folder, 0o711)
        self.small_disk = self.mount()
        self.shim = self.build_shim()
        # No persistence: a killed broker has forgotten everything.
        limits = "" if args.wide_limits else "max_queued_messages 1000\nmax_inflight_messages 20"
        self.broker = self.kafka = None
        if args.bus != "kafka":
            self.broker = servers.Mosquitto(self.folder, persistence=False, config=limits)
        if args.bus != "mqtt":
            self.kafka = Kafka(self.folder)
        self.redis = servers.Redis(self.folder)
        self.postgres = servers.Postgres(self.folder)
        self.agents = []
        self.store = self.hot = self.bridge = self.relay = None
        self.relay_url = ""

    def build_shim(self):
        """A library between an agent and the system; not under sanitizers, which want to be first."""
        if "release" not in BIN:
            return None
        path = os.path.join(self.folder, "shim.so")
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", path, os.path.join(HERE, "shim.c"), "-ldl"],
                       check=True)
        return path

    def mount(self):
        """A small file system for some spools; None when this user may not mount."""
        path = os.path.join(self.folder, "small")
        os.mkdir(path)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "latido-fault", path],
                              capture_output=True, check=False)
        if done.returncode:
            self.say("no small file system (mount needs root): writes are made to fail instead")
            return None
        return path

    def consumer(self, name):
        return Program(BIN, name, self.folder, config=self.config).start()

    def daemons(self):
        return [p for p in (self.store, self.hot, self.bridge) if p]

    def programs(self):
        return [*self.daemons(), *(a.program for a in self.agents)]

    def start(self):
        for server in filter(None, (self.broker, self.kafka, self.redis, self.postgres)):
            server.start()
        consumer_bus = self.agent_url = (self.broker or self.kafka).url
        if self.kafka:
            consumer_bus = self.kafka.url
            subprocess.run([os.path.join(BIN, "latido"), "topics", "create", "--partitions", str(PARTITIONS),
                            "--bus", self.kafka.url], check=True, capture_output=True, timeout=120)
        if self.broker:
            self.relay = subprocess.Popen([sys.executable, os.path.join(HERE, "relay.py"), servers.HOST,
                                           str(self.broker.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                          text=True)
            servers.guard_process(self.relay.pid)
            self.relay_url = f"mqtt://{servers.HOST}:{self.relay.stdout.readline().strip()}"
        sections = {
            "bus": {"url": consumer_bus, "mqtt": {"keepalive": "2s", "connect_timeout": "2s"},
                    "kafka": {"session_timeout": "3s"}, "backoff_base": "100ms", "backoff_cap": "1s"},
            "redis": {"url": self.redis.url, "timeout": "2s"},
            "postgres": {"dsn": self.postgres.dsn, "timeout": "3s"},
            "hot": {"admin": "127.0.0.1:0"},
            "store": {"admin": "127.0.0.1:0", "inbox_dir": os.path.join(self.folder, "inbox")},
        }
        if self.args.bus == "bridge":
            sections["bridge"] = {"mqtt_url": self.broker.url, "admin": "127.0.0.1:0",
                                  "inbox_dir": os.path.join(self.folder, "bridge-inbox")}
        self.config = os.path.join(self.folder, "latido.yaml")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(yaml_config(sections))
        self.store = self.consumer("latido-store").wait_ready()
        self.hot = self.consumer("latido-hot").wait_ready()
        if self.args.bus == "bridge":
            self.bridge = self.consumer("latido-bridge").wait_ready()
        for i in range(self.args.agents):
            agent = Agent(self, i)
            agent.start()
            self.agents.append(agent)

    def order(self, text):
        self.relay.stdin.write(text + "\n")
        self.relay.stdin.flush()

    def close(self):
        for program in self.programs():
            if program and program.running():
                program.signal(signal.SIGCONT)
                program.signal(signal.SIGKILL)
                program.process.wait()
        if self.relay:
            self.relay.kill()
            self.relay.wait()
        for server in filter(None, (self.broker, self.kafka, self.redis, self.postgres)):
            server.close()
        if self.small_disk:
            subprocess.run(["umount", self.small_disk], check=False)
        if self.args.keep:
            self.say(f"kept: {self.folder}")
        else:
            servers.remove_folder(self.folder)
