# SPDX-License-Identifier: MIT
"""The faults; each heals what it broke."""

import os
import shutil
import signal
import subprocess
import time

from world import BIN, ON_SMALL_DISK


class Faults:
    """Mixed into the driver, which has world and random."""

    def possible(self):
        """Names of the faults that this world can have."""
        names = sorted(name[6:] for name in dir(self) if name.startswith("fault_"))
        world = self.world
        missing = set()
        if not world.shim:
            missing |= {"clock", "no_room"}
        if not world.small_disk:
            missing |= {"full_disk"}
        if not world.broker:
            missing |= {"kill_broker", "pause_broker", "cut", "hang", "slow"}
        if not world.kafka:
            missing |= {"kill_kafka", "pause_kafka"}
        if world.args.bus != "bridge":
            missing |= {"kill_bridge", "pause_bridge"}
        return [name for name in names if name not in missing]

    # ---- processes that die ----

    def fault_kill_agents(self):
        victims = self.random.sample(self.world.agents, self.random.randint(1, 5))
        for agent in victims:
            agent.kill()
        time.sleep(self.random.random() * 2)
        for agent in victims:
            agent.start()

    def fault_stop_agent(self):
        agent = self.random.choice(self.world.agents)
        agent.program.signal(signal.SIGTERM)
        agent.program.wait_exit(60)
        agent.start()

    def kill_daemon(self, name, seconds):
        program = getattr(self.world, name)
        program.signal(signal.SIGKILL)
        program.process.wait()
        time.sleep(self.random.random() * seconds)
        setattr(self.world, name, self.world.consumer(program.name))

    def fault_kill_store(self):
        self.kill_daemon("store", 3)

    def fault_kill_hot(self):
        self.kill_daemon("hot", 1)

    def fault_kill_bridge(self):
        self.kill_daemon("bridge", 3)

    def kill_server(self, server, seconds, **how):
        server.kill(**how)
        time.sleep(self.random.random() * seconds)
        server.start()

    def fault_kill_broker(self):
        self.kill_server(self.world.broker, 3)

    def fault_kill_kafka(self):
        self.kill_server(self.world.kafka, 3)

    def fault_kill_postgres(self):
        self.kill_server(self.world.postgres, 2, children=False)

    def fault_kill_redis(self):
        self.kill_server(self.world.redis, 2)

    # ---- processes that hang: longer than keep-alive, time-outs and Kafka's session ----

    def pause(self, pids):
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(3.5 + self.random.random() * 3)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)

    def fault_pause_agents(self):
        self.pause([a.program.pid for a in self.random.sample(self.world.agents, 5)])

    def fault_pause_store(self):
        self.pause([self.world.store.pid])

    def fault_pause_hot(self):
        self.pause([self.world.hot.pid])

    def fault_pause_bridge(self):
        self.pause([self.world.bridge.pid])

    def fault_pause_broker(self):
        self.pause([self.world.broker.pid])

    def fault_pause_redis(self):
        self.pause([self.world.redis.pid])

    def pause_server(self, server):
        server.pause()
        time.sleep(3.5 + self.random.random() * 3)
        server.resume()

    def fault_pause_postgres(self):
        self.pause_server(self.world.postgres)

    def fault_pause_kafka(self):
        self.pause_server(self.world.kafka)

    # ---- the link of some agents ----

    def fault_cut(self):
        self.world.order("cut")
        time.sleep(1 + self.random.random() * 4)
        self.world.order("heal")

    def fault_hang(self):
        self.world.order("hang")
        time.sleep(3 + self.random.random() * 4)
        self.world.order("heal")

    def fault_slow(self):
        self.world.order(f"slow {self.random.choice((500, 2000, 8000))}")
        time.sleep(2 + self.random.random() * 5)
        self.world.order("heal")

    # ---- disks ----

    def fault_full_disk(self):
        """A real one: the small file system is filled up."""
        ballast = os.path.join(self.world.small_disk, "ballast")
        with open(ballast, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 65536)
            except OSError:
                pass
        time.sleep(1 + self.random.random() * 4)
        os.unlink(ballast)

    def fault_no_room(self):
        """The same for any user: what some agents write fails with ENOSPC."""
        victims = self.random.sample(self.world.agents, 5)
        for agent in victims:
            agent.set_no_room(True)
        time.sleep(1 + self.random.random() * 4)
        for agent in victims:
            agent.set_no_room(False)

    def fault_old_spool(self):
        """The spool is put back to how it was: by another copy of the files, or in place."""
        agent = self.random.choice(self.world.agents[ON_SMALL_DISK:])
        copy = agent.spool + ".copy"
        shutil.rmtree(copy, ignore_errors=True)
        agent.kill()
        shutil.copytree(agent.spool, copy)
        agent.start()
        time.sleep(2 + self.random.random() * 3)
        self.settle_agent(agent)
        agent.kill()
        # Kafka has no acknowledgement by which an agent could see what was done in place (man page).
        in_place = self.random.random() < 0.5 and self.world.args.bus != "kafka"
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
        agent = self.random.choice(self.world.agents[ON_SMALL_DISK:])
        self.settle_agent(agent)
        agent.kill()
        shutil.rmtree(agent.spool)
        agent.rolled_back = True
        agent.start()

    # ---- clocks ----

    def fault_clock(self):
        """The clock of agents jumps by hours, some while they run and some over a restart."""
        for agent in self.random.sample(self.world.agents, 4):
            agent.set_clock(self.random.choice((-30, -3, 0, 3, 30)))
            if self.random.random() < 0.5:
                agent.kill()
                agent.start()

    # ----

    def settle_agent(self, agent):
        """What an older copy of a spool does not have cannot come back: let it be stored first."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.behind(agent) < 8 * 1000 / self.world.args.interval:
                return
            time.sleep(0.1)

    def behind(self, agent):
        """How many numbers an agent gave that are not acknowledged."""
        report = subprocess.run([os.path.join(BIN, "latido"), "spool", "inspect", agent.spool],
                                capture_output=True, text=True, check=False).stdout.split()
        numbers = [int(report[i + 2]) for i, w in enumerate(report) if w == "up" and report[i + 1] == "to"]
        return numbers[0] - numbers[1] if len(numbers) == 2 else 1 << 30
