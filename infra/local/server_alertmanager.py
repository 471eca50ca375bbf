# SPDX-License-Identifier: MIT
"""A private Prometheus Alertmanager; see servers.py."""

import http.client
import json
import os

from server_base import HOST, Server, find_program, free_port


class Alertmanager(Server):
    """Debian's prometheus-alertmanager on a loopback port; it notifies nobody.

    alerts() is what its API v2 lists.
    """

    name = "alertmanager"

    def prepare(self):
        self.write("alertmanager.yml", "route:\n  receiver: nobody\n  group_wait: 0s\nreceivers:\n- name: nobody\n")
        self.cluster_port = free_port()

    @property
    def url(self):
        return f"http://{HOST}:{self.port}"

    def command(self):
        return [find_program("prometheus-alertmanager", "prometheus-alertmanager"),
                "--config.file", os.path.join(self.folder, "alertmanager.yml"),
                "--storage.path", os.path.join(self.folder, "data"),
                "--web.listen-address", f"{HOST}:{self.port}", "--cluster.listen-address="]

    def get(self, path):
        connection = http.client.HTTPConnection(HOST, self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def answers(self):
        return self.get("/-/ready")[0] == 200

    def alerts(self):
        """{alertname: alert}, resolved ones are not listed."""
        status, body = self.get("/api/v2/alerts")
        assert status == 200, body
        return {alert["labels"]["alertname"]: alert for alert in json.loads(body)}
