#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Breaks everything, again and again, under steady load, and proves that nothing was lost.

    tests/fault/fault.py [--faults N] [--seed N] [--bus mqtt|kafka|bridge] [--agents N] [--interval MS] [--keep]

Many latido-agents, latido-store and latido-hot run against private servers, Mosquitto at its default
queue limits and without persistence. A random driver (the seed is printed; the same seed gives the
same sequence of faults) kills and stops each of them, cuts and slows links, fills the disk under
spools, puts older copies of spools back and shifts an agent's clock (faults.py). At the end everything
is healed and waited for (proof.py), and SQL answers for each source and epoch: 1..N, each once, plus
exactly the recorded gaps, of which only an epoch whose spool was put back or lost may have any; Redis
has the newest event of each source. A process that did not recover by itself fails the run, as does
one that did not say what happened or repeated itself.

BUS, FAULTS and SEED in the environment mean the same as the options.
"""

import argparse
import collections
import os
import random
import sys
import time

from faults import Faults
from proof import Proof
from world import BIN, BUSES, Failed, World

import servers


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


class Driver(Faults, Proof):
    def __init__(self, world):
        self.world, self.say = world, say
        self.random = random.Random(world.args.seed)
        self.counts = collections.Counter()

    def check_alive(self):
        for program in self.world.programs():
            if not program.running():
                raise Failed(f"{program.label} ended with code {program.process.returncode}:\n{program.log_tail()}")

    def run(self):
        args = self.world.args
        faults = self.possible()
        if args.only:
            faults = [f for f in faults if f in args.only.split(",")]
        self.world.start()
        time.sleep(2)
        queue = []
        for i in range(args.faults):
            if not queue:  # each of them before any of them again
                queue = faults[:]
                self.random.shuffle(queue)
            fault = queue.pop()
            say(f"{i + 1}/{args.faults} {fault}")
            self.counts[fault] += 1
            getattr(self, "fault_" + fault)()
            time.sleep(self.random.random() * 1.5)
            self.check_alive()
        self.prove()
        say(f"{self.events} events of {args.agents} sources after {args.faults} faults: each once; {self.gaps} recorded "
            "as gaps of spools that were put back")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=int(os.environ.get("FAULTS") or 40))
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or time.time()))
    parser.add_argument("--bus", choices=BUSES, default=os.environ.get("BUS") or "mqtt",
                        help="kafka: agents publish to Kafka directly; bridge: by latido-bridge")
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--interval", type=int, default=500, help="of the agents' snapshots, in ms")
    parser.add_argument("--only", help="these faults alone, comma-separated")
    parser.add_argument("--wide-limits", action="store_true", help="Mosquitto with limits as the manual recommends")
    parser.add_argument("--keep", action="store_true", help="leave the folder")
    args = parser.parse_args()
    if args.bus == "bridge" and not os.path.exists(os.path.join(BIN, "latido-bridge")):
        parser.error("latido-bridge is not built")
    say(f"seed {args.seed}, bus {args.bus} (--seed {args.seed} --bus {args.bus} replays the sequence)")
    world = World(args, say)
    try:
        Driver(world).run()
    except (Failed, servers.ServerError, TimeoutError) as e:
        say(f"FAILED with seed {args.seed}: {e}")
        args.keep = True
        return 1
    finally:
        world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
