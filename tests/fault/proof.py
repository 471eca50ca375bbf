# SPDX-License-Identifier: MIT
"""What must be true when everything is healed."""

import collections
import datetime
import time

import servers
from programs import parse_log_line
from world import Failed

SETTLE_SECONDS = 240
# Of one log id in one life of a process, in any minute: lib/core/log.c lets three troubles a minute
# begin; several parts of one process may say the same.
TROUBLES_A_MINUTE = 8
LINES_A_MINUTE = 40  # of what is no trouble, such as each connect

EPOCHS = """
    SELECT s.name, e.epoch, p.upto, p.above::text, coalesce(d.n, 0), coalesce(d.u, 0),
        coalesce(d.lo, 0), coalesce(d.hi, 0), coalesce(g.missing, 0), coalesce(g.kinds, '')
    FROM epoch e JOIN source s ON s.id = e.source_id JOIN progress p ON p.epoch_id = e.id
    LEFT JOIN (SELECT epoch_id, count(*) n, count(DISTINCT seq) u, min(seq) lo, max(seq) hi
        FROM (SELECT epoch_id, seq FROM snapshot UNION ALL SELECT epoch_id, seq FROM snapshot_stray) a
        GROUP BY 1) d ON d.epoch_id = e.id
    LEFT JOIN (SELECT epoch_id, sum(hi - lo + 1) missing, string_agg(DISTINCT kind, ' ') kinds
        FROM gap GROUP BY 1) g ON g.epoch_id = e.id
    ORDER BY 1, 2"""
# What stands in gap is in no row: a hole that was given up and came after all would be both.
BOTH = """
    SELECT count(*) FROM gap g JOIN
        (SELECT epoch_id, seq FROM snapshot UNION ALL SELECT epoch_id, seq FROM snapshot_stray) a
        ON a.epoch_id = g.epoch_id AND a.seq BETWEEN g.lo AND g.hi"""


class Proof:
    """Mixed into the driver, which has world, say and behind()."""

    def prove(self):
        """Everything healed: the agents drain their spools, then PostgreSQL and Redis are asked."""
        self.say("healed; waiting until every spool is drained")
        servers.wait_until(lambda: all(p.ready() for p in self.world.daemons()), SETTLE_SECONDS, "the daemons ready")
        self.wait_drained()
        last = self.stop_agents(self.world.agents)
        problems = []
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            problems = self.compare(last)
            if not problems:
                break
            time.sleep(1)
            # What was lost on the way after the agents had gone is in their spools: a short second life.
            again = [a for a in self.world.agents if any(p.startswith(a.source + " ") for p in problems)]
            for agent in again:
                agent.start()
            time.sleep(4)
            last.update(self.stop_agents(again))
        if problems:
            raise Failed("PostgreSQL does not hold exactly what the agents sent:\n  " + "\n  ".join(problems[:40]))
        self.prove_redis(last)
        self.prove_logs()

    def wait_drained(self):
        deadline = time.monotonic() + SETTLE_SECONDS
        agents = list(self.world.agents)
        while agents:
            agents = [a for a in agents if self.behind(a) > 15 * 1000 / self.world.args.interval]
            if agents and time.monotonic() > deadline:
                raise Failed("not drained: " + ", ".join(f"{a.source} {self.behind(a)}" for a in agents))
            time.sleep(0.5)

    def stop_agents(self, agents):
        """Each says up to which number it went: {source: (epoch, seq)}."""
        last = {}
        for agent in agents:
            agent.program.signal(15)
        for agent in agents:
            code = agent.program.wait_exit(60)
            if code != 0:
                raise Failed(f"{agent.source} ended with {code}:\n{agent.program.log_tail()}")
            line = agent.program.logged("drained")[0]
            last[agent.source] = int(line["epoch"]), int(line["seq"])
        return last

    def compare(self, last):
        # What a replaced epoch lacks can come no more; the store closes those after 24 hours.
        self.world.postgres.sql("SELECT latido_close_epochs('0')")
        problems, events, gaps, newest = [], 0, 0, {}
        agents = {a.source: a for a in self.world.agents}
        for row in self.world.postgres.sql(EPOCHS):
            name, above, kinds = row[0], row[3], row[9]
            epoch, upto, n, unique, lo, hi, missing = map(int, (row[1], row[2], *row[4:9]))
            events += n
            gaps += missing
            newest[name] = epoch, upto
            what = f"{name} epoch {epoch}: rows {n} unique {unique} from {lo} to {hi}, progress {upto} {above}, gaps {missing}"
            replaced = agents[name].rolled_back and epoch != last[name][0]
            if n != unique:
                problems.append(what + ": duplicates")
            elif above != "{}":
                problems.append(what + ": holes")
            elif n + missing != upto or hi > upto:
                problems.append(what + ": rows and progress differ")
            elif missing and not (replaced and kinds == "replaced"):
                problems.append(what + f": gaps ({kinds}) although no spool was too small or put back")
        for source, want in last.items():
            if newest.get(source) != want:
                problems.append(f"{source} stored up to {newest.get(source)}, sent up to {want}")
        if self.world.postgres.sql(BOTH) != [("0",)]:
            problems.append("events that are recorded as gaps are stored")
        self.events, self.gaps = events, gaps
        return problems

    def prove_redis(self, last):
        """Each hash and each window holds the very last event."""
        def behind():
            found = []
            for source, (epoch, seq) in last.items():
                node = self.world.redis.call("HMGET", f"latido:node:{source}", "_epoch", "_seq")
                if [str(x) for x in node] != [str(epoch), str(seq)]:
                    found.append(f"{source}: hash {node} instead of {epoch} {seq}")
                newest = self.world.redis.call("XREVRANGE", f"latido:window:{source}", "+", "-", "COUNT", "1")
                if not newest or newest[0][0] != f"{epoch}-{seq}":
                    found.append(f"{source}: window {newest and newest[0][0]} instead of {epoch}-{seq}")
            return found
        try:
            servers.wait_until(lambda: not behind(), 60, "Redis")
        except TimeoutError:
            raise Failed("Redis does not hold the newest state: " + "; ".join(behind()[:10])) from None

    def lives(self):
        """The log of each life of each process: (label, parsed lines)."""
        for program in self.world.programs():
            with open(program.log, encoding="utf-8", errors="replace") as f:
                lines = [parse_log_line(line) for line in f]
            life = []
            for line in lines:
                if line.get("id") == "started" and life:
                    yield program.label, life
                    life = []
                life.append(line)
            yield program.label, life

    def prove_logs(self):
        """Each trouble was said, and its end, and neither again and again."""
        said = collections.defaultdict(set)
        for label, life in self.lives():
            times = collections.defaultdict(list)
            for line in life:
                if "ts" in line and "id" in line:
                    said["agents" if label.startswith("agent-") else label].add(line["id"])
                    trouble = line.get("level") in ("warn", "error")
                    times[line["id"], trouble].append(
                        datetime.datetime.fromisoformat(line["ts"].replace("Z", "+00:00")).timestamp())
            for (log_id, trouble), at in times.items():
                most = TROUBLES_A_MINUTE if trouble else LINES_A_MINUTE
                for i in range(most, len(at)):
                    if 0 <= at[i] - at[i - most] < 60:
                        raise Failed(f"{label} logged {log_id} {most + 1} times in a minute")
        self.prove_said(said)

    def prove_said(self, said):
        counts, world = self.counts, self.world
        mqtt, kafka = counts["kill_broker"], counts["kill_kafka"]
        gone = ("bus_unavailable", "bus_recovered")
        for label, happened, wanted in [
                # Of so many agents some live through each death of what they publish to.
                ("agents", 2 * mqtt if world.broker else kafka, gone),
                ("latido-bridge", mqtt + kafka if world.bridge else 0, gone),
                ("latido-store", kafka if world.kafka else mqtt, gone),
                ("latido-hot", kafka if world.kafka else mqtt, gone),
                ("latido-store", counts["kill_postgres"], ("sink_retry", "sink_recovered")),
                ("latido-hot", counts["kill_redis"], ("sink_retry", "sink_recovered"))]:
            # Once may fall together with a death of the process that would have said it.
            missing = [w for w in wanted if happened > 1 and w not in said[label]]
            if missing:
                raise Failed(f"{label} never said {' and '.join(missing)}")
