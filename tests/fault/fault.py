#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Breaks everything, again and again, under steady load, and proves that nothing was lost.

    tests/fault/fault.py [--faults N] [--seed N] [--agents N] [--interval MS] [--keep]

Many latido-agents, latido-store and latido-hot run against private servers. A random driver (the
seed is printed; the same seed gives the same sequence of faults) kills and stops each of them, cuts
and slows links, fills the disk under spools, puts older copies of spools back and shifts an agent's
clock. At the end everything is healed and waited for, and SQL answers for each source and epoch:
1..N, each once, plus exactly the recorded gaps, of which there must be none; and Redis has the newest
state. A process that did not recover by itself fails the run, as does one that repeated itself in
its log.
"""

import argparse
import collections
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "infra", "local"))

import servers  # noqa: E402
from programs import Program, yaml_config  # noqa: E402

BIN = os.path.abspath(os.environ.get("LATIDO_BIN") or os.path.join(ROOT, "build", "release", "bin"))
BEHIND_RELAY = 8  # agents whose link to the broker can be cut
ON_SMALL_DISK = 4  # agents whose spools are on a small file system
SMALL_DISK_BYTES = 16 << 20
SETTLE_SECONDS = 240
LINES_MAX = 60  # of one log id in one process life: more is repeating itself


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Failed(Exception):
    pass


class Agent:
    def __init__(self, world, number):
        self.world, self.number = world, number
        self.source = f"n{number:03}"
        self.spool = os.path.join(world.small_disk if world.small_disk and number < ON_SMALL_DISK else world.folder,
                                  f"spool-{self.source}")
        self.copy = None
        self.program = None
        self.rolled_back = False
        self.clock = os.path.join(world.folder, f"{self.source}.clock")
        self.set_clock(0)

    def set_clock(self, hours):
        with open(self.clock, "r+b" if os.path.exists(self.clock) else "wb") as f:
            f.write(struct.pack("q", hours * 3600))

    def start(self):
        relayed = self.number >= self.world.args.agents - BEHIND_RELAY
        config = os.path.join(self.world.folder, f"{self.source}.yaml")
        with open(config, "w", encoding="utf-8") as f:
            f.write(yaml_config({
                "log": {"level": "info"},
                "bus": {"url": self.world.relay_url if relayed else self.world.broker.url,
                        "mqtt": {"client_id": f"agent-{self.source}", "keepalive": "2s", "connect_timeout": "2s"},
                        "backoff_base": "100ms", "backoff_cap": "1s"},
                "agent": {"source": self.source, "interval": f"{self.world.args.interval}ms", "admin": "",
                          "collectors": ["loadavg", "stat"], "backlog_rate": 2000,
                          "spool": {"dir": self.spool, "max_bytes": "64MiB"}},
            }))
        env = {"LD_PRELOAD": self.world.clockshift, "CLOCKSHIFT_FILE": self.clock} if self.world.clockshift else {}
        self.program = Program(BIN, "latido-agent", self.world.folder, config=config, env=env,
                               label=f"agent-{self.source}")
        self.program.start()

    def kill(self):
        self.program.signal(signal.SIGKILL)
        self.program.process.wait()


class World:
    def __init__(self, args):
        self.args = args
        self.random = random.Random(args.seed)
        self.folder = servers.private_folder("latido-fault-")
        os.chmod(self.folder, 0o711)
        self.small_disk = self.mount()
        self.clockshift = self.build_clockshift()
        # No persistence: a killed broker has forgotten everything.
        limits = "max_queued_messages 1000\nmax_inflight_messages 20" if args.default_limits else ""
        self.broker = servers.Mosquitto(self.folder, persistence=False, config=limits)
        self.redis = servers.Redis(self.folder)
        self.postgres = servers.Postgres(self.folder)
        self.agents = []
        self.store = self.hot = self.relay = None
        self.relay_url = ""
        self.counts = collections.Counter()

    def build_clockshift(self):
        """A library that shifts an agent's wall clock; not under sanitizers, which want to be first."""
        if "release" not in BIN:
            return None
        path = os.path.join(self.folder, "clockshift.so")
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", path, os.path.join(HERE, "clockshift.c"), "-ldl"],
                       check=True)
        return path

    def mount(self):
        """A small file system for some spools; None when this user may not mount."""
        path = os.path.join(self.folder, "small")
        os.mkdir(path)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "latido-fault", path],
                              capture_output=True, check=False)
        if done.returncode:
            say("no small file system (mount needs root): the full-disk fault is left out")
            return None
        return path

    def consumer(self, name):
        program = Program(BIN, name, self.folder, config=self.config)
        return program.start()

    def start(self):
        for server in (self.broker, self.redis, self.postgres):
            server.start()
        self.relay = subprocess.Popen([sys.executable, os.path.join(HERE, "relay.py"), servers.HOST,
                                       str(self.broker.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        servers.guard_process(self.relay.pid)
        self.relay_url = f"mqtt://{servers.HOST}:{self.relay.stdout.readline().strip()}"
        self.config = os.path.join(self.folder, "latido.yaml")
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(yaml_config({
                "bus": {"url": self.broker.url, "mqtt": {"keepalive": "2s", "connect_timeout": "2s"},
                        "backoff_base": "100ms", "backoff_cap": "1s"},
                "redis": {"url": self.redis.url, "timeout": "2s"},
                "postgres": {"dsn": self.postgres.dsn, "timeout": "3s"},
                "hot": {"admin": "127.0.0.1:0"},
                "store": {"admin": "127.0.0.1:0"},
            }))
        self.store = self.consumer("latido-store").wait_ready()
        self.hot = self.consumer("latido-hot").wait_ready()
        for i in range(self.args.agents):
            agent = Agent(self, i)
            agent.start()
            self.agents.append(agent)

    def order(self, text):
        self.relay.stdin.write(text + "\n")
        self.relay.stdin.flush()

    # ---- the faults; each heals what it broke ----

    def fault_kill_agents(self):
        victims = self.random.sample(self.agents, self.random.randint(1, 5))
        for agent in victims:
            agent.kill()
        time.sleep(self.random.random() * 2)
        for agent in victims:
            agent.start()

    def fault_stop_agent(self):
        agent = self.random.choice(self.agents)
        agent.program.signal(signal.SIGTERM)
        agent.program.wait_exit(60)
        agent.start()

    def fault_kill_store(self):
        self.store.signal(signal.SIGKILL)
        self.store.process.wait()
        time.sleep(self.random.random() * 3)
        self.store = self.consumer("latido-store")

    def fault_kill_hot(self):
        self.hot.signal(signal.SIGKILL)
        self.hot.process.wait()
        time.sleep(self.random.random())
        self.hot = self.consumer("latido-hot")

    def fault_kill_broker(self):
        self.broker.kill()
        time.sleep(self.random.random() * 3)
        self.broker.start()

    def fault_kill_postgres(self):
        self.postgres.kill(children=False)
        time.sleep(self.random.random() * 2)
        self.postgres.start()

    def fault_kill_redis(self):
        self.redis.kill()
        time.sleep(self.random.random() * 2)
        self.redis.start()

    def pause(self, pids):
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(3.5 + self.random.random() * 3)  # keep-alive is 2 s
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def fault_pause_agents(self):
        self.pause([a.program.pid for a in self.random.sample(self.agents, 5)])

    def fault_pause_store(self):
        self.pause([self.store.pid])

    def fault_pause_hot(self):
        self.pause([self.hot.pid])

    def fault_pause_broker(self):
        self.pause([self.broker.pid])

    def fault_pause_redis(self):
        self.pause([self.redis.pid])

    def fault_pause_postgres(self):
        self.postgres.pause()
        time.sleep(3.5 + self.random.random() * 3)
        self.postgres.resume()

    def fault_cut(self):
        self.order("cut")
        time.sleep(1 + self.random.random() * 4)
        self.order("heal")

    def fault_hang(self):
        self.order("hang")
        time.sleep(3 + self.random.random() * 4)
        self.order("heal")

    def fault_slow(self):
        self.order(f"slow {self.random.choice((500, 2000, 8000))}")
        time.sleep(2 + self.random.random() * 5)
        self.order("heal")

    def fault_full_disk(self):
        ballast = os.path.join(self.small_disk, "ballast")
        with open(ballast, "wb") as f:
            try:
                while True:
                    f.write(b"x" * 65536)
                    f.flush()
            except OSError:
                pass
            try:
                f.close()
            except OSError:
                pass
        time.sleep(1 + self.random.random() * 4)
        os.unlink(ballast)

    def fault_old_spool(self):
        """The spool is put back to how it was: by another copy of the files, or in place."""
        agent = self.random.choice(self.agents[ON_SMALL_DISK:])
        copy = agent.spool + ".copy"
        shutil.rmtree(copy, ignore_errors=True)
        agent.kill()
        shutil.copytree(agent.spool, copy)
        agent.start()
        time.sleep(2 + self.random.random() * 3)
        self.settle_agent(agent)
        agent.kill()
        in_place = self.random.random() < 0.5
        for name in os.listdir(agent.spool):
            path = os.path.join(agent.spool, name)
            if not in_place or not os.path.exists(os.path.join(copy, name)):
                os.unlink(path)
        for name in os.listdir(copy):
            with open(os.path.join(copy, name), "rb") as old, open(os.path.join(agent.spool, name), "ab") as new:
                new.truncate(0)
                new.write(old.read())
        agent.rolled_back = True
        agent.start()

    def fault_lost_spool(self):
        agent = self.random.choice(self.agents[ON_SMALL_DISK:])
        self.settle_agent(agent)
        agent.kill()
        shutil.rmtree(agent.spool)
        agent.rolled_back = True
        agent.start()

    def fault_clock(self):
        """The clock of agents jumps by hours, some while they run and some over a restart."""
        for agent in self.random.sample(self.agents, 4):
            agent.set_clock(self.random.choice((-30, -3, 0, 3, 30)))
            if self.random.random() < 0.5:
                agent.kill()
                agent.start()

    def settle_agent(self, agent):
        """What an older copy of a spool does not have cannot come back: let it be stored first."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            report = subprocess.run([os.path.join(BIN, "latido"), "spool", "inspect", agent.spool],
                                    capture_output=True, text=True, check=False).stdout.split()
            if "up" in report:
                numbers = [int(report[i + 2]) for i, w in enumerate(report) if w == "up" and report[i + 1] == "to"]
                if len(numbers) == 2 and numbers[0] - numbers[1] < 8 * 1000 / self.args.interval:
                    return
            time.sleep(0.1)

    # ---- the end ----

    def epochs(self):
        return self.postgres.sql("""
            SELECT s.name, e.epoch, p.upto, p.above::text, coalesce(d.n, 0), coalesce(d.u, 0),
                coalesce(d.lo, 0), coalesce(d.hi, 0), coalesce(g.missing, 0)
            FROM epoch e JOIN source s ON s.id = e.source_id JOIN progress p ON p.epoch_id = e.id
            LEFT JOIN (SELECT epoch_id, count(*) n, count(DISTINCT seq) u, min(seq) lo, max(seq) hi
                FROM (SELECT epoch_id, seq FROM snapshot UNION ALL SELECT epoch_id, seq FROM snapshot_stray) a
                GROUP BY 1) d ON d.epoch_id = e.id
            LEFT JOIN (SELECT epoch_id, sum(hi - lo + 1) missing FROM gap GROUP BY 1) g ON g.epoch_id = e.id
            ORDER BY 1, 2""")

    def stop_agents(self):
        """Each says up to which number it went."""
        last = {}
        for agent in self.agents:
            agent.program.signal(signal.SIGTERM)
        for agent in self.agents:
            code = agent.program.wait_exit(60)
            if code != 0:
                raise Failed(f"{agent.source} ended with {code}:\n{agent.program.log_tail()}")
            line = agent.program.logged("drained")[0]
            last[agent.source] = int(line["epoch"]), int(line["seq"])
        return last

    def check(self):
        """Everything healed: the agents drain their spools, then PostgreSQL is asked."""
        say("healed; waiting until every spool is drained")
        deadline = time.monotonic() + SETTLE_SECONDS
        agents = list(self.agents)
        while agents:
            agents = [a for a in agents if self.behind(a) > 15 * 1000 / self.args.interval]
            if agents and time.monotonic() > deadline:
                raise Failed("not drained: " + ", ".join(f"{a.source} {self.behind(a)}" for a in agents))
            time.sleep(0.5)
        last = self.stop_agents()
        problems = []
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            rows = [r.split("|") if isinstance(r, str) else [str(x) for x in r] for r in self.rows()]
            problems = self.compare(rows, last)
            if not problems:
                break
            time.sleep(1)
            # What the broker lost after the agents had gone is in their spools: a short second life.
            for agent in self.agents:
                if any(p.startswith(agent.source + " ") for p in problems) and not agent.program.running():
                    agent.start()
            time.sleep(4)
            running = [a for a in self.agents if a.program.running()]
            for agent in running:
                agent.program.signal(signal.SIGTERM)
            for agent in running:
                agent.program.wait_exit(60)
                line = agent.program.logged("drained")[0]
                last[agent.source] = int(line["epoch"]), int(line["seq"])
        if problems:
            raise Failed("PostgreSQL does not hold exactly what the agents sent:\n  " + "\n  ".join(problems[:40]))
        self.check_redis(last)
        self.check_logs()

    def rows(self):
        result = self.epochs()
        return result.splitlines() if isinstance(result, str) else result

    def behind(self, agent):
        report = subprocess.run([os.path.join(BIN, "latido"), "spool", "inspect", agent.spool],
                                capture_output=True, text=True, check=False).stdout.split()
        numbers = [int(report[i + 2]) for i, w in enumerate(report) if w == "up" and report[i + 1] == "to"]
        return numbers[0] - numbers[1] if len(numbers) == 2 else 1 << 30

    def compare(self, rows, last):
        problems, events = [], 0
        newest = {}
        for name, epoch, upto, above, n, unique, lo, hi, missing in rows:
            epoch, upto, n, unique, lo, hi, missing = map(int, (epoch, upto, n, unique, lo, hi, missing))
            events += n
            newest[name] = epoch, upto
            agent = self.agents[int(name[1:])]
            what = f"{name} epoch {epoch}: rows {n} unique {unique} from {lo} to {hi}, progress {upto} {above}, gaps {missing}"
            if n != unique:
                problems.append(what + ": duplicates")
            elif above != "{}" and not (agent.rolled_back and epoch != last[name][0]):
                problems.append(what + ": holes")
            elif above == "{}" and (n + missing != upto or hi > upto):
                problems.append(what + ": rows and progress differ")
            elif missing:
                problems.append(what + ": gaps although no spool was too small")
        for source, want in last.items():
            if newest.get(source) != want:
                problems.append(f"{source} stored up to {newest.get(source)}, sent up to {want}")
        self.events = events
        return problems

    def check_redis(self, last):
        behind = []
        for source, (epoch, seq) in last.items():
            found = self.redis.call("HMGET", f"latido:node:{source}", "_epoch", "_seq:")
            if not found or found[0] is None or int(found[0]) != epoch:
                behind.append(f"{source}: {found} instead of epoch {epoch} seq {seq}")
        if behind:
            raise Failed("Redis is behind: " + "; ".join(behind[:10]))

    def check_logs(self):
        for program in [self.store, self.hot, *(a.program for a in self.agents)]:
            counts = collections.Counter(word for line in program.log_text().splitlines()
                                         for word in line.split() if word.startswith("id="))
            for log_id, n in counts.items():
                if n > LINES_MAX:
                    raise Failed(f"{program.label} logged {log_id} {n} times")

    def check_alive(self):
        for program in [self.store, self.hot, *(a.program for a in self.agents)]:
            if not program.running():
                raise Failed(f"{program.label} ended with code {program.process.returncode}:\n{program.log_tail()}")

    def run(self):
        faults = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("fault_")]
        if not self.clockshift:
            faults.remove(self.fault_clock)
        if not self.small_disk:
            faults.remove(self.fault_full_disk)
        if self.args.only:
            faults = [f for f in faults if f.__name__[6:] in self.args.only.split(",")]
        self.start()
        time.sleep(2)
        queue = []
        for i in range(self.args.faults):
            if not queue:  # each of them before any of them again
                queue = faults[:]
                self.random.shuffle(queue)
            fault = queue.pop()
            say(f"{i + 1}/{self.args.faults} {fault.__name__[6:]}")
            self.counts[fault.__name__[6:]] += 1
            fault()
            time.sleep(self.random.random() * 1.5)
            self.check_alive()
        self.check()
        say(f"{self.events} events of {len(self.agents)} sources after {self.args.faults} faults: "
            "each once, no hole, no gap")

    def close(self):
        for agent in self.agents:
            if agent.program and agent.program.running():
                agent.program.signal(signal.SIGCONT)
                agent.program.signal(signal.SIGKILL)
                agent.program.process.wait()
        for program in (self.store, self.hot):
            if program and program.running():
                program.signal(signal.SIGCONT)
                program.signal(signal.SIGKILL)
                program.process.wait()
        if self.relay:
            self.relay.kill()
            self.relay.wait()
        for server in (self.broker, self.redis, self.postgres):
            server.close()
        if self.small_disk:
            subprocess.run(["umount", self.small_disk], check=False)
        if self.args.keep:
            say(f"kept: {self.folder}")
        else:
            servers.remove_folder(self.folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=int(os.environ.get("FAULTS") or 40))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or time.time()))
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--interval", type=int, default=500, help="of the agents' snapshots, in ms")
    parser.add_argument("--only", help="these faults alone, comma-separated")
    parser.add_argument("--default-limits", action="store_true", help="Mosquitto's own queue limits")
    parser.add_argument("--keep", action="store_true", help="leave the folder")
    args = parser.parse_args()
    say(f"seed {args.seed} (--seed {args.seed} replays the sequence)")
    world = World(args)
    try:
        world.run()
    except (Failed, servers.ServerError, TimeoutError) as e:
        say(f"FAILED with seed {args.seed}: {e}")
        args.keep = True
        return 1
    finally:
        world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
