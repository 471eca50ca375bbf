# SPDX-License-Identifier: MIT
"""Private Apache Kafka: one broker or a cluster of several, in a folder of the caller.

    with Kafka(folder) as kafka:
        ... kafka.url ...
        kafka.kill(); kafka.restart()          # all brokers, as with the other servers
    with Kafka(folder, brokers=3) as kafka:
        kafka.brokers[1].kill()                # each one has kill, stop, start, pause, resume
        kafka.leader("latido.metrics", 0)      # the broker that leads a partition

KRaft mode, every broker is a controller too. The jars are those of infra/kafka/pom.xml, copied once
by `make kafka-jars`; nothing of Kafka's own distribution is needed. Tuned for tests: small heap, no
delay before a group's first rebalance, short sessions allowed, no topics by accident.
"""

import base64
import os
import shutil
import socket
import ssl
import struct
import subprocess
import uuid

from certificates import make_certificates
from server_base import HOST, Server, ServerError, find_program, free_port, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
JARS = os.path.join(ROOT, "build", "kafka")
LOG4J = os.path.join(ROOT, "infra", "kafka", "log4j.properties")
API_OFFSETS, API_METADATA, API_GROUPS, API_ACLS, API_CREATE_PARTITIONS, API_QUOTAS = 2, 3, 15, 30, 37, 49
PERMISSIONS = {"read": 3, "write": 4, "create": 5, "describe": 8}
RESOURCES = {"topic": 2, "group": 3}


def jars():
    """The class path; says how to get the jars where there are none."""
    if not os.path.exists(os.path.join(JARS, ".complete")):
        raise ServerError("the jars of Apache Kafka are not here: run `make kafka-jars` (once)")
    return os.path.join(JARS, "*")


class Reply:
    """Reads the fields of a reply of Kafka's protocol one after the other."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return values[0] if len(values) == 1 else values

    def text(self):
        n = self.take("h")
        if n < 0:
            return None
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def list(self, item):
        return [item() for _ in range(max(0, self.take("i")))]


def call(port, key, version, body, timeout=10):
    """One request to a broker; the rest of the reply after its header."""
    with socket.create_connection((HOST, port), timeout) as s:
        s.settimeout(timeout)
        client = b"latido"
        request = struct.pack(">hhih", key, version, 1, len(client)) + client + body
        s.sendall(struct.pack(">i", len(request)) + request)

        def receive(n):
            data = b""
            while len(data) < n:
                part = s.recv(n - len(data))
                if not part:
                    raise EOFError
                data += part
            return data

        reply = Reply(receive(struct.unpack(">i", receive(4))[0]))
        reply.take("i")
        return reply


def metadata(port, *topics):
    """({broker id: port}, {topic: {partition: leader id}}) as one broker sees it."""
    body = struct.pack(">i", len(topics))
    for topic in topics:
        body += struct.pack(">h", len(topic)) + topic.encode()
    reply = call(port, API_METADATA, 1, body)

    def broker():
        number, _, at, _ = reply.take("i"), reply.text(), reply.take("i"), reply.text()
        return number, at

    def partition():
        _, number, leader = reply.take("hii")
        reply.list(lambda: reply.take("i"))
        reply.list(lambda: reply.take("i"))
        return number, leader

    def topic():
        _, name, _ = reply.take("h"), reply.text(), reply.take("b")
        return name, dict(reply.list(partition))

    brokers = dict(reply.list(broker))
    reply.take("i")
    return brokers, dict(reply.list(topic))


def words(*texts):
    """Strings of Kafka's protocol one behind the other."""
    return b"".join(struct.pack(">h", len(t)) + t.encode() for t in texts)


class Broker(Server):
    """One broker of a Kafka; made by it."""

    stop_codes = (0, 143)  # the virtual machine's way to say SIGTERM

    def __init__(self, cluster, number):
        self.name = f"kafka{number}"
        super().__init__(cluster.folder)
        self.cluster, self.number = cluster, number
        self.controller_port = self.tls_port = self.sasl_port = self.sasl_tls_port = 0
        self.relay_port = self.behind_relay_port = 0
        self.data = os.path.join(self.folder, "data")
        self.properties = os.path.join(self.folder, "server.properties")

    def choose_ports(self):
        self.port, self.controller_port = free_port(), free_port()
        if self.cluster.tls:
            self.tls_port = free_port()
        if self.cluster.users:
            self.sasl_port = free_port()
        if self.cluster.tls and self.cluster.users:
            self.sasl_tls_port = free_port()
        if self.cluster.relay:
            self.relay_port, self.behind_relay_port = free_port(), free_port()
        self.port_is_ours = False

    def listeners(self):
        """Name, port and protocol of each listener for clients."""
        every = [("PLAIN", self.port, "PLAINTEXT"), ("TLS", self.tls_port, "SSL"),
                 ("SASL", self.sasl_port, "SASL_PLAINTEXT"), ("SASLTLS", self.sasl_tls_port, "SASL_SSL"),
                 ("RELAYED", self.behind_relay_port, "PLAINTEXT")]
        return [row for row in every if row[1]]

    def settings(self):
        cluster = self.cluster
        listeners = self.listeners()
        copies = min(3, len(cluster.brokers))
        values = {
            "process.roles": "broker,controller",
            "node.id": self.number,
            "controller.quorum.voters":
                ",".join(f"{b.number}@{HOST}:{b.controller_port}" for b in cluster.brokers),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAIN",
            "listeners": ",".join([f"{name}://{HOST}:{port}" for name, port, _ in listeners]
                                  + [f"CONTROLLER://{HOST}:{self.controller_port}"]),
            "advertised.listeners": ",".join(
                f"{name}://{'localhost' if 'TLS' in name else HOST}:"
                f"{self.relay_port if name == 'RELAYED' else port}"
                for name, port, _ in listeners),
            "listener.security.protocol.map": ",".join(
                [f"{name}:{protocol}" for name, _, protocol in listeners] + ["CONTROLLER:PLAINTEXT"]),
            "log.dirs": self.data,
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 2,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 500,
            # A killed broker is noticed, and its partitions get another leader, within two seconds.
            "broker.session.timeout.ms": 2000,
            "broker.heartbeat.interval.ms": 300,
            "num.network.threads": 2,
            "num.io.threads": 3,
            "background.threads": 2,
            "num.recovery.threads.per.data.dir": 1,
            "log.cleaner.dedupe.buffer.size": 4 << 20,
            "log.retention.check.interval.ms": 1000,
            "log.segment.delete.delay.ms": 1000,
        }
        if cluster.tls:
            c = cluster.certificates
            values |= {"ssl.keystore.type": "PEM", "ssl.keystore.location": os.path.join(self.folder, "server.pem"),
                       "ssl.truststore.type": "PEM", "ssl.truststore.location": c["ca"]}
            if cluster.tls == "require":
                values["ssl.client.auth"] = "required"
        if cluster.users:
            logins = " ".join(f'user_{name}="{password}"' for name, password in cluster.users.items())
            scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            plain = f"org.apache.kafka.common.security.plain.PlainLoginModule required {logins};"
            for name in ("sasl", "sasltls") if cluster.tls else ("sasl",):
                values |= {
                    f"listener.name.{name}.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
                    f"listener.name.{name}.plain.sasl.jaas.config": plain,
                    f"listener.name.{name}.scram-sha-256.sasl.jaas.config": scram,
                    f"listener.name.{name}.scram-sha-512.sasl.jaas.config": scram,
                }
            # Who comes without a password comes from the tests themselves.
            values |= {"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                       "super.users": ";".join(["User:ANONYMOUS"] + [f"User:{u}" for u in cluster.super_users])}
        return values | cluster.config

    def prepare(self):
        values = self.settings()
        self.write("server.properties", "".join(f"{key}={value}\n" for key, value in values.items()))
        if self.cluster.tls:
            c = self.cluster.certificates
            text = ""
            for name in ("server_key", "server_cert"):
                with open(c[name], encoding="ascii") as f:
                    text += f.read()
            self.write("server.pem", text)
        if not os.path.exists(os.path.join(self.data, "meta.properties")):
            shutil.rmtree(self.data, ignore_errors=True)
            self._format()

    def _format(self):
        command = self._java("64m", "kafka.tools.StorageTool") + [
            "format", "-t", self.cluster.id, "-c", self.properties]
        for name, password in (self.cluster.users or {}).items():
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                command += ["-S", f"{mechanism}=[name={name},password={password}]"]
        with open(self.log, "ab") as log:
            code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                  check=False).returncode
        if code:
            raise ServerError(f"formatting the storage of {self.name} failed:\n{self.log_tail()}")

    def _java(self, heap, program):
        return [find_program("java", "openjdk-17-jre-headless"), f"-Xmx{heap}", f"-Xms{heap}",
                "-XX:+UseSerialGC", *([] if self.cluster.optimise else ["-XX:TieredStopAtLevel=1"]),
                "-XX:-UsePerfData", "-Xshare:auto", "-Djava.awt.headless=true", f"-Djava.io.tmpdir={self.folder}",
                f"-Dlog4j.configuration=file:{LOG4J}", "-cp", jars(), program]

    def command(self):
        return self._java(self.cluster.heap, "kafka.Kafka") + [self.properties]

    def answers(self):
        """It takes part in the cluster."""
        return self.number in metadata(self.port)[0]

    def forget(self):
        shutil.rmtree(self.data, ignore_errors=True)


class Kafka:
    """One or more brokers.

    tls: also listeners with TLS (certificates in .certificates, names localhost and 127.0.0.1);
    "require": clients need a certificate. users: {name: password}, known to further listeners with
    SASL PLAIN and SCRAM; they may do nothing, unless their name is in super_users. config: further
    settings of the brokers. relay: one more listener, .behind_relay_port, whose clients are told
    that it is .relay_port: there a test listens itself and passes the bytes on, or does not.
    optimise: let Java compile for speed; without it brokers start with two thirds of the work.
    """

    def __init__(self, folder, brokers=1, tls=False, users=None, super_users=(), config=None, heap="256m",
                 relay=False, optimise=False):
        self.name = "kafka"
        self.folder = os.path.abspath(folder)
        os.makedirs(self.folder, exist_ok=True)
        self.tls, self.users, self.super_users = tls, users, super_users
        self.config, self.heap, self.relay = config or {}, heap, relay
        self.optimise = optimise
        self.certificates = make_certificates(self.folder) if tls else None
        self.id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        self.brokers = [Broker(self, n + 1) for n in range(brokers)]
        self.brokers_known = False

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def url(self):
        return "kafka://" + self.servers()

    def servers(self, kind="port"):
        """host:port,... of all brokers; kind: port, tls_port, sasl_port, sasl_tls_port, relay_port."""
        host = "localhost" if "tls" in kind else HOST
        return ",".join(f"{host}:{getattr(b, kind)}" for b in self.brokers)

    def start(self):
        """Start the brokers that do not run and wait until each takes part."""
        if not self.brokers_known:
            for broker in self.brokers:
                broker.choose_ports()
            self.brokers_known = True
        starting = [b for b in self.brokers if not b.running()]
        try:
            for broker in starting:
                broker.spawn()
            for broker in starting:
                broker.wait_ready()
        except ServerError:
            self.close()
            raise
        return self

    def forget(self):
        for broker in self.brokers:
            broker.forget()

    def log_tail(self):
        return "\n".join(f"{b.name}:\n{b.log_tail()}" for b in self.brokers)

    def running(self):
        return any(b.running() for b in self.brokers)

    def kill(self):
        for broker in self.brokers:
            broker.kill()

    def stop(self):
        """Regular shutdown; the last controllers of a cluster have no quorum left and get SIGKILL."""
        if len(self.brokers) == 1:
            self.brokers[0].stop()
        else:
            self.kill()

    def restart(self, empty=False):
        self.stop()
        if empty:
            self.forget()
        return self.start()

    def pause(self):
        for broker in self.brokers:
            broker.pause()

    def resume(self):
        for broker in self.brokers:
            broker.resume()

    def close(self):
        for broker in self.brokers:
            broker.close()

    def pids(self):
        return [b.pid for b in self.brokers if b.running()]

    def leader(self, topic, partition):
        """The broker that leads a partition; waits until there is one."""
        def ask():
            for broker in self.brokers:
                if not broker.running():
                    continue
                try:
                    known = metadata(broker.port, topic)[1].get(topic, {})
                except (OSError, EOFError):
                    continue
                for other in self.brokers:
                    if known.get(partition) == other.number and other.running():
                        return other
            return None
        return wait_until(ask, 120, f"a leader of {topic}/{partition}")

    def partitions(self, topic):
        """How many partitions a topic has; 0: it does not exist."""
        broker = next(b for b in self.brokers if b.running())
        return len(metadata(broker.port, topic)[1].get(topic, {}))

    def ends(self, topic):
        """{partition: offset of what comes next} of a topic in a Kafka of one broker."""
        numbers = range(self.partitions(topic))
        body = (struct.pack(">ii", -1, 1) + words(topic) + struct.pack(">i", len(numbers))
                + b"".join(struct.pack(">iq", n, -1) for n in numbers))
        reply = call(self.brokers[0].port, API_OFFSETS, 1, body)

        def partition():
            number, code, _, offset = reply.take("ihqq")
            if code:
                raise ServerError(f"{topic}/{number}: error {code}")
            return number, offset

        return dict(reply.list(lambda: (reply.text(), reply.list(partition)))[0][1])

    def group_state(self, group):
        """Stable, PreparingRebalance (waits for members to join), CompletingRebalance, Empty, Dead."""
        reply = call(self.brokers[0].port, API_GROUPS, 0, struct.pack(">i", 1) + words(group))
        _, code, _, state = reply.take("i"), reply.take("h"), reply.text(), reply.text()
        if code:
            raise ServerError(f"group {group}: error {code}")
        return state

    def quota(self, client, name, value):
        """Set a quota of a client.id, such as producer_byte_rate; None removes it."""
        body = (struct.pack(">ii", 1, 1) + words("client-id", client) + struct.pack(">i", 1) + words(name)
                + struct.pack(">d??", value or 0.0, value is None, False))
        reply = call(self.brokers[0].port, API_QUOTAS, 0, body, 15)
        _, _, code, why = reply.take("i"), reply.take("i"), reply.take("h"), reply.text()
        if code:
            raise ServerError(f"quota {name} of {client}: {why or code}")

    def allow(self, user, operation, kind, name):
        """Permit a user one operation (PERMISSIONS) on a topic or group."""
        body = (struct.pack(">ib", 1, RESOURCES[kind]) + words(name) + struct.pack(">b", 3)
                + words(f"User:{user}", "*") + struct.pack(">bb", PERMISSIONS[operation], 3))
        reply = call(self.brokers[0].port, API_ACLS, 1, body, 15)
        _, _, code, why = reply.take("i"), reply.take("i"), reply.take("h"), reply.text()
        if code:
            raise ServerError(f"{user} may not {operation} {kind} {name}: {why or code}")

    def add_partitions(self, topic, total):
        """The topic has so many partitions from now on."""
        body = (struct.pack(">ih", 1, len(topic)) + topic.encode()
                + struct.pack(">iiib", total, -1, 10000, 0))

        def ask():  # only the controller does it, and every broker may be that
            for broker in self.brokers:
                if broker.running():
                    reply = call(broker.port, API_CREATE_PARTITIONS, 0, body, 15)
                    _, _, _, code, why = reply.take("i"), reply.take("i"), reply.text(), reply.take("h"), reply.text()
                    if code == 0:
                        return True
                    if code != 41:  # NOT_CONTROLLER
                        raise ServerError(f"{topic} does not get {total} partitions: {why or code}")
            return None
        wait_until(ask, 120, f"{topic} has {total} partitions")


def tls_answers(port, certificates):
    """A TLS handshake with a broker succeeds (Kafka says nothing before the client does)."""
    context = ssl.create_default_context(cafile=certificates["ca"])
    context.load_cert_chain(certificates["client_cert"], certificates["client_key"])
    with socket.create_connection((HOST, port), 5) as raw, context.wrap_socket(raw, server_hostname="localhost"):
        return True
