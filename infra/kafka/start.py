#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs a private Apache Kafka until Ctrl-C: infra/kafka/start.py [--brokers N] [FOLDER]

Prints bus.url when it answers. Without FOLDER its data is gone at the end.
"""

import argparse
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "local"))
from kafka import Kafka  # noqa: E402
from servers import ServerError, private_folder  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description="run a private Apache Kafka (KRaft) until Ctrl-C")
    parser.add_argument("folder", nargs="?", help="where its data goes and stays; default: a private one")
    parser.add_argument("--brokers", type=int, default=1, choices=range(1, 6), help="how many (1)")
    parser.add_argument("--tls", action="store_true", help="listeners with TLS too")
    args = parser.parse_args()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda *_: sys.exit(0))
    try:
        with Kafka(args.folder or private_folder("latido-kafka-"), brokers=args.brokers, tls=args.tls) as kafka:
            print(f"bus.url: {kafka.url}", flush=True)
            if args.tls:
                print(f"with TLS: {kafka.servers('tls_port')}, certificates: {kafka.certificates['ca']}", flush=True)
            while True:
                signal.pause()
    except ServerError as e:
        print(f"{sys.argv[0]}: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
