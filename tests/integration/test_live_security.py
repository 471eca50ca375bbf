# SPDX-License-Identifier: MIT
"""Who gets into latido-live, and what it does with those who try otherwise."""

import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import threading
import time

import pytest

import servers
from certificates import make_certificates
from live import PASSWORD, USER, Feeder, Live
from pipeline import SECONDS
from servers import wait_until

OPEN = {"/api/v1/session"}
SECRET_PATHS = [
    "/api/v1/config", "/api/v1/status", "/api/v1/nodes", "/api/v1/nodes?spark=all", "/api/v1/nodes/n",
    "/api/v1/nodes/n/window", "/api/v1/nodes/n/at?time=1", "/api/v1/pipeline", "/api/v1/shapes/" + "0" * 32,
    "/api/v1/series?source=n&name=a", "/api/v1/alerts",
    "/api/v1/alerts?history=5", "/api/v1/stream", "/metrics", "/prometheus/api/v1/query?query=up",
    "/prometheus/api/v1/query_range?query=up&start=1&end=2&step=1", "/prometheus/api/v1/series?match[]=up",
    "/prometheus/api/v1/labels", "/prometheus/api/v1/label/job/values", "/prometheus/api/v1/status/buildinfo",
    "/prometheus/api/v1/metadata", "/api/v1/unknown", "/prometheus/unknown",
]


@pytest.fixture
def start(run_program, write_config, bin_folder, tmp_path, redis):
    def begin(**more):
        return Live(run_program, write_config, bin_folder, str(tmp_path), redis, **{"auth": "password", **more})
    return begin


def head(answer):
    """Status of raw bytes."""
    return int(answer.split(b" ", 2)[1]) if answer else None


# ---- sessions ----


def test_nothing_without_a_session(start):
    live = start()
    for path in SECRET_PATHS:
        answer = live.get(path)
        assert answer.status == 401 and b"log in" in answer.body, path
        assert live.request("HEAD", path).status == 401, path
        assert live.get(path, Cookie="latido_session=" + "A" * 43).status == 401, path
        assert live.get(path, Authorization="Bearer " + "A" * 43).status == 401, path
        assert live.get(path, Authorization="Basic YW5hOng=").status == 401, path
    session = live.json("/api/v1/session")
    assert session == {"auth": "password", "user": None, "title": "Latido"}
    assert live.get("/").status == 200  # the page itself, which asks for the password


def test_every_route_of_the_table_is_in_the_list():
    """A route that is added later must be added above, too."""
    path = os.path.join(os.path.dirname(__file__), "..", "..", "consumers", "live", "routes.c")
    with open(path, encoding="utf-8") as file:
        routes = re.findall(r'^\t\{"(/[^"]*)", (?:EXACT|PREFIX)(.*)', file.read(), re.M)
    assert len(routes) > 10
    for route, rest in routes:
        if ".open = true" in rest:
            assert route in OPEN | {"/api/v1/login", "/api/v1/logout", "/api/v1/share"}
        else:
            assert any(p.startswith(route) for p in SECRET_PATHS), route


def test_login_logout(start):
    live = start()
    answer = live.login()
    assert answer.status == 200 and answer.json["user"] == USER
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie and "Secure" not in cookie
    value = cookie.split(";")[0]
    assert len(value.split("=", 1)[1]) == 43
    assert live.get("/api/v1/nodes", Cookie=value).status == 200
    assert live.json("/api/v1/session", Cookie=f"other=1; {value}; x=2")["user"] == USER
    with live.stream(Cookie=value) as stream:
        stream.wait_event("hello")
        out = live.request("POST", "/api/v1/logout", b"", {"Cookie": value})
        assert out.status == 200 and out.json["user"] is None and "Max-Age=0" in out.headers["Set-Cookie"]
        assert stream.wait_event("end") == {"reason": "session"} and stream.ended.wait(SECONDS)
    assert live.get("/api/v1/nodes", Cookie=value).status == 401


def test_first_answers_come_with_the_page(start):
    """The page's first questions are preloaded beside its files; without a session that would only be refused."""
    live = start()
    assert live.get("/").headers["Link"] is None and live.get("/n/worker1").headers["Link"] is None
    cookie = live.cookie()
    for path in ("/", "/index.html", "/n/worker1"):
        answer = live.get(path, Cookie=cookie)
        assert answer.status == 200 and "text/html" in answer.headers["Content-Type"]
        paths = re.findall(r"<([^>]*)>; rel=preload; as=fetch; crossorigin", answer.headers["Link"])
        assert "/api/v1/nodes" in paths and all(live.get(p, Cookie=cookie).status == 200 for p in paths)
    etag = live.get("/", Cookie=cookie).headers["ETag"]
    again = live.get("/", Cookie=cookie, **{"If-None-Match": etag})
    assert again.status == 304 and again.headers["Link"]


def test_wrong_login(start):
    live = start()
    for user, password in ((USER, "wrong password"), (USER, ""), (USER, PASSWORD + " "), ("nobody", PASSWORD),
                           (USER.upper(), PASSWORD)):
        answer = live.login(user, password)
        assert answer.status == 401 and "Set-Cookie" not in answer.headers
        assert answer.json["error"] == "user or password is wrong"


BODIES = [
    b"", b"{}", b"[]", b'{"user":"ana"}', b'{"user":"ana","password":5}', b'{"user":"ana","password":"x"', b"\xff",
    b'{"user":"ana","password":"a\\u0000b"}', b'{"user":"ana","user":"eva","password":"x"}',
    b'{"user":"a b","password":"x"}', b'{"user":"' + b"a" * 100 + b'","password":"x"}',
    b'{"user":"ana","password":"' + b"x" * 1100 + b'"}', b'{"user":"ana","password":"x"} {}', b'{"a":' * 80]


def test_malformed_login(start):
    live = start()
    for body in BODIES:
        assert live.request("POST", "/api/v1/login", body, {"Content-Type": "application/json"}).status == 400, body
    assert live.request("POST", "/api/v1/login", b"user=ana&password=x",
                        {"Content-Type": "application/x-www-form-urlencoded"}).status == 415
    assert live.get("/api/v1/login").status == 405


def test_attempts_are_limited_by_address_and_user(start):
    live = start(live={"login_attempts": 2, "login_window": "1h"})
    assert [live.login(password="wrong-wrong").status for _ in range(3)] == [401, 401, 429]
    late = live.login()
    assert late.status == 429 and int(late.headers["Retry-After"]) > 60 and "retry_after_s" in late.json
    # Another user is not locked out by that, until the address as a whole has failed too often.
    live.command("--add-user", "eva", stdin=PASSWORD + "\n")
    assert live.login("eva").status == 200
    statuses = [live.login(f"u{i}", "wrong-wrong").status for i in range(20)]
    assert 429 in statuses and statuses.index(429) <= 12
    assert live.login("eva").status == 429


def test_a_storm_of_logins_cannot_pass_the_limit(start):
    """Attempts count when they begin: checking takes long enough for many to be under way."""
    live = start(live={"login_attempts": 5, "login_window": "1h"})
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(live.login(password="wrong-wrong").status))
               for _ in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(SECONDS)
    assert statuses.count(401) == 5 and statuses.count(429) == 7


def test_bearer_tokens(start):
    live = start()
    token = live.command("--add-token", "grafana").strip()
    assert len(token) == 43
    wait_until(lambda: live.get("/api/v1/nodes", Authorization=f"Bearer {token}").status == 200, SECONDS, "it counts")
    assert live.get("/metrics", Authorization=f"bearer {token}").status == 200
    with live.stream(Authorization=f"Bearer {token}") as stream:
        stream.wait_event("hello")
    with open(live.users, encoding="utf-8") as file:
        text = file.read()
    assert token not in text and PASSWORD not in text and "$argon2id$" in text
    assert stat.S_IMODE(os.stat(live.users).st_mode) == 0o600
    with live.stream(Authorization=f"Bearer {token}") as stream:
        stream.wait_event("hello")
        live.command("--remove-user", "grafana")
        assert stream.wait_event("end") == {"reason": "session"} and stream.ended.wait(SECONDS)
    assert live.get("/api/v1/nodes", Authorization=f"Bearer {token}").status == 401


def test_changed_password_and_removed_user_end_sessions(start):
    live = start()
    cookie = live.cookie()
    live.command("--add-user", USER, stdin="another good one\n")
    wait_until(lambda: live.get("/api/v1/nodes", Cookie=cookie).status == 401, SECONDS, "the old session ended")
    assert live.login().status == 401
    again = live.login(password="another good one").headers["Set-Cookie"].split(";")[0]
    with live.stream(Cookie=again) as stream:
        stream.wait_event("hello")
        live.command("--remove-user", USER)
        assert stream.wait_event("end") == {"reason": "session"}
    assert live.get("/api/v1/nodes", Cookie=again).status == 401


def test_removing_ends_that_user_only(start):
    """Also without waiting for the file to be looked at: SIGHUP reads it again."""
    live = start(auth="password")
    token = live.command("--add-token", "other").strip()
    cookie = live.cookie()
    wait_until(lambda: live.get("/api/v1/nodes", Authorization=f"Bearer {token}").status == 200, SECONDS, "it counts")
    with live.stream(Authorization=f"Bearer {token}") as stays, live.stream(Cookie=cookie) as goes:
        stays.wait_event("hello")
        goes.wait_event("hello")
        live.command("--remove-user", USER)
        live.program.process.send_signal(signal.SIGHUP)
        assert goes.wait_event("end") == {"reason": "session"} and goes.ended.wait(SECONDS)
        assert live.get("/api/v1/nodes", Cookie=cookie).status == 401
        assert live.login().status == 401
        stays.wait_event("tick")
        assert stays.of("end") == [] and live.get("/api/v1/nodes", Authorization=f"Bearer {token}").status == 200


def share(live, token, **headers):
    return live.request("POST", "/api/v1/share", json.dumps({"token": token}),
                        {"Content-Type": "application/json", **headers})


def test_share_link_may_only_look(start, tmp_path):
    live = start(live={"sessions_file": str(tmp_path / "sessions"), "origins": ["https://latido.example"]})
    link = live.command("--add-share", "wall", "--expires", "2d").strip()
    url, token = link.split("#share=")
    assert url == "https://latido.example/?kiosk=1" and len(token) == 43
    answer = share(live, token)
    assert answer.status == 200 and answer.json["user"] == "wall" and answer.json["read_only"] is True
    assert 0 < answer.json["expires_ms"] - time.time() * 1000 <= 2 * 86400_000 + 1000
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert 86400 < int(re.search(r"Max-Age=(\d+)", cookie)[1]) <= 2 * 86400 + 1
    cookie = cookie.split(";")[0]
    for path in SECRET_PATHS:
        if path != "/api/v1/stream":
            assert live.get(path, Cookie=cookie).status not in (401, 403), path
    assert live.json("/api/v1/session", Cookie=cookie)["read_only"] is True
    form = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookie}
    for path in ("/prometheus/api/v1/query", "/api/v1/nodes", "/metrics"):
        assert live.request("POST", path, "query=1", form).status == 403, path
    # The link's token is neither a program's token, nor a password, nor kept or logged anywhere.
    assert live.get("/api/v1/nodes", Authorization=f"Bearer {token}").status == 401
    assert live.login("wall", token).status == 401
    live.restart()
    assert live.get("/api/v1/nodes", Cookie=cookie).status == 200
    for path in (live.users, str(tmp_path / "sessions"), live.program.log):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        assert token not in text and cookie.split("=")[1] not in text, path
    with live.stream(Cookie=cookie) as stream:
        stream.wait_event("hello")
        live.command("--remove-user", "wall")
        assert stream.wait_event("end") == {"reason": "session"}
    assert live.get("/api/v1/nodes", Cookie=cookie).status == 401
    assert share(live, token).status == 401


def test_share_link_ends_by_itself(start):
    live = start()
    token = live.command("--add-share", "wall").strip().split("#share=")[1]
    cookie = share(live, token).headers["Set-Cookie"].split(";")[0]
    with live.stream(Cookie=cookie) as stream:
        stream.wait_event("hello")
        # As if the time of the link were over: its end stands in the file.
        with open(live.users, encoding="utf-8") as file:
            text = file.read()
        with open(live.users, "w", encoding="utf-8") as file:
            file.write(re.sub(r"(share wall \w+) \d+", rf"\1 {int(time.time()) + 2}", text))
        assert stream.wait_event("end") == {"reason": "session"}
    assert live.get("/api/v1/nodes", Cookie=cookie).status == 401
    assert share(live, token).status == 401
    assert live.login().status == 200  # nobody else was touched


def test_share_link_is_not_opened_without_end(start, tmp_path):
    """Whoever has a link cannot end the sessions of others by opening it again and again."""
    live = start(live={"sessions_file": str(tmp_path / "sessions"), "login_attempts": 1, "login_window": "1h"})
    token = live.command("--add-share", "wall").strip().split("#share=")[1]
    answers = [share(live, token) for _ in range(21)]
    assert [a.status for a in answers] == [200] * 20 + [429] and int(answers[-1].headers["Retry-After"]) > 0
    with open(tmp_path / "sessions", encoding="utf-8") as file:
        assert sum(line.endswith(" share\n") for line in file) == 20
    assert live.login().status == 200
    assert live.get("/api/v1/nodes", Cookie=answers[0].headers["Set-Cookie"].split(";")[0]).status == 200


def test_share_refuses(start, bin_folder):
    live = start(live={"login_attempts": 1, "login_window": "1h"})
    live.command("--add-share", "wall", "--expires", "1h")
    for body in (b"", b"{}", b'{"token":5}', b'{"token":"a","token":"b"}', b'{"token":"' + b"x" * 64 + b'"}'):
        assert live.request("POST", "/api/v1/share", body, {"Content-Type": "application/json"}).status == 400, body
    assert live.request("POST", "/api/v1/share", b"token=x", {"Content-Type": "text/plain"}).status == 415
    assert share(live, "A" * 43, Origin="https://evil.example").status == 403
    assert live.get("/api/v1/share").status == 405
    assert [share(live, "A" * 43).status for _ in range(6)] == [401] * 5 + [429]
    for arguments, code in ((["--add-share", "a b"], 1), (["--add-share", "a", "--expires", "1s"], 1),
                            (["--add-share", "a", "--expires", "soon"], 1), (["--expires", "1h"], 2)):
        run = subprocess.run([f"{bin_folder}/latido-live", "--config", live.config, *arguments], capture_output=True,
                             text=True, timeout=SECONDS, check=False)
        assert run.returncode == code and run.stdout == "" and run.stderr, arguments


def test_sessions_survive_a_restart(start, tmp_path):
    sessions = tmp_path / "sessions"
    live = start(live={"sessions_file": str(sessions)})
    cookie, ended = live.cookie(), live.cookie()
    assert live.request("POST", "/api/v1/logout", b"", {"Cookie": ended}).status == 200
    live.restart(kill=True)
    assert live.get("/api/v1/nodes", Cookie=cookie).status == 200
    assert live.get("/api/v1/nodes", Cookie=ended).status == 401
    assert stat.S_IMODE(sessions.stat().st_mode) == 0o600
    assert cookie.split("=", 1)[1] not in sessions.read_text(encoding="utf-8")
    sessions.write_text("garbage\n" * 3, encoding="utf-8")
    live.restart(kill=True)
    assert live.get("/api/v1/nodes", Cookie=cookie).status == 401
    assert live.login().status == 200


def test_users_file_must_be_private(start, bin_folder):
    live = start()
    os.chmod(live.users, 0o644)
    os.utime(live.users)  # what the server looks at: it is another file now
    wait_until(lambda: live.login().status == 401, SECONDS, "nobody gets in")
    run = subprocess.run([f"{bin_folder}/latido-live", "--config", live.config], capture_output=True, text=True,
                         timeout=SECONDS, check=False)
    assert run.returncode == 78 and "chmod o=" in run.stderr


@pytest.mark.parametrize("name,password,message", [
    ("ana", "short", "8 to 1024"), ("ana", "", "8 to 1024"), ("a b", "long enough", "characters"),
    ("", "long enough", "characters"), ("ana", "x" * 1100, "8 to 1024"), ("../x", "long enough", "characters")])
def test_add_user_refuses(start, bin_folder, name, password, message):
    live = start()
    run = subprocess.run([f"{bin_folder}/latido-live", "--config", live.config, "--add-user", name],
                         input=password + "\n", capture_output=True, text=True, timeout=SECONDS, check=False)
    assert run.returncode == 1 and message in run.stderr


@pytest.mark.once
def test_password_is_asked_without_echo(start, bin_folder):
    """On a terminal: prompts, nothing of the password comes back, two that differ are refused."""
    import pty
    live = start()
    for second, code in (("another one", 1), ("terminal secret", 0)):
        pid, fd = pty.fork()
        if pid == 0:
            os.execv(f"{bin_folder}/latido-live", ["latido-live", "--config", live.config, "--add-user", "tty"])
        out = b""

        def until(text, fd=fd):
            nonlocal out
            while text not in out:
                out += os.read(fd, 1000)
        until(b"Password: ")
        os.write(fd, b"terminal secret\n")
        until(b"Again: ")
        os.write(fd, second.encode() + b"\n")
        try:
            while part := os.read(fd, 1000):
                out += part
        except OSError:
            pass
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code, out
        os.close(fd)
        assert b"secret" not in out
    assert live.login("tty", "terminal secret").status == 200


# ---- other sites ----


def test_origin(start):
    live = start(live={"origins": ["https://latido.example"]})
    cookie = live.cookie()
    own = f"http://127.0.0.1:{live.port}"
    for origin, ok in ((own, True), ("https://latido.example", True), ("https://evil.example", False), ("null", False),
                       (own.replace("http", "https"), False), (own + ".evil.example", False)):
        status = live.get("/api/v1/nodes", Cookie=cookie, Origin=origin).status
        assert status == (200 if ok else 403), origin
        assert live.login(Origin=origin).status == (200 if ok else 403), origin
    assert live.get("/api/v1/nodes", Cookie=cookie, **{"Sec-Fetch-Site": "cross-site"}).status == 403
    assert live.get("/api/v1/nodes", Cookie=cookie, **{"Sec-Fetch-Site": "same-origin"}).status == 200
    assert live.get("/", **{"Sec-Fetch-Site": "cross-site"}).status == 200  # a link in a mail
    for header in ("Access-Control-Allow-Origin", "Server"):
        assert header not in live.get("/").headers


def test_without_logins_only_loopback_names_are_answered(start):
    live = start(auth="none")
    for host, ok in (("localhost", True), (f"127.0.0.1:{live.port}", True), ("[::1]:80", True), ("127.0.0.2", True),
                     ("evil.example", False), ("127.0.0.1.evil.example", False), ("localhost.evil.example", False)):
        assert live.get("/api/v1/nodes", Host=host).status == (200 if ok else 403), host
        assert live.get("/", Host=host).status == (200 if ok else 403), host
    assert live.json("/api/v1/session")["auth"] == "none"


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "192.0.2.1:8420"])
def test_auth_none_is_refused_beyond_loopback(start, bin_folder, write_config, listen):
    config = write_config({"live": {"auth": "none", "listen": listen}})
    run = subprocess.run([f"{bin_folder}/latido-live", "--config", config, "--check-config"], capture_output=True,
                         text=True, timeout=SECONDS, check=False)
    assert run.returncode == 78 and "loopback" in run.stderr


def test_security_headers(start):
    live = start()
    for path in ("/", "/api/v1/session", "/api/v1/nodes", "/nothing/here"):
        headers = live.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Strict-Transport-Security" not in headers


def test_trusted_proxy(start):
    """Only the configured proxy's word counts: for the address of attempts and for Secure cookies."""
    proxied = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7", "X-Forwarded-Proto": "https"}
    live = start(live={"login_attempts": 1, "login_window": "1h"})
    assert "Secure" not in live.login(**proxied).headers["Set-Cookie"]
    live.program.terminate()
    live = start(live={"proxies": ["127.0.0.1"], "login_attempts": 1, "login_window": "1h"})
    cookie = live.login(**proxied).headers["Set-Cookie"]
    assert cookie.startswith("__Host-latido_session=") and "; Secure" in cookie
    assert live.program.logged("login", **{"from": "198.51.100.7"})
    assert live.login(password="wrong-wrong", **proxied).status == 401
    assert live.login(password="wrong-wrong", **proxied).status == 429
    other = {**proxied, "X-Forwarded-For": "198.51.100.8"}
    assert live.login(**other).status == 200
    assert live.login(**{**proxied, "X-Forwarded-For": "evil, not an address"}).status == 200


# ---- TLS ----


def test_tls(start, tmp_path):
    first, second = (make_certificates(str(tmp_path / name)) for name in ("first", "second"))
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def install(pair):
        for name, target in (("server_cert", cert), ("server_key", key)):
            with open(pair[name], "rb") as file:
                target.write_bytes(file.read())
    install(first)
    live = start(live={"tls": {"cert_file": str(cert), "key_file": str(key)}})
    context = ssl.create_default_context(cafile=first["ca"])
    context.load_verify_locations(second["ca"])

    def ask(request):
        with socket.create_connection((servers.HOST, live.port), SECONDS) as raw, \
                context.wrap_socket(raw, server_hostname="localhost") as s:
            s.sendall(request)
            out = b""
            while part := s.recv(65536):
                out += part
            return out, s.getpeercert(True)
    body = b'{"user":"%s","password":"%s"}' % (USER.encode(), PASSWORD.encode())
    login = (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
             b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    out, der = ask(login)
    assert head(out) == 200 and b"__Host-latido_session=" in out and b"; Secure" in out
    assert b"Strict-Transport-Security" in out
    # plain HTTP gets nothing that could be mistaken for an answer
    try:
        plain = live.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    except ConnectionError:
        plain = b""
    assert not plain.startswith(b"HTTP/")
    # a new certificate without a restart; a broken one is not taken
    install(second)
    live.program.signal(1)
    wait_until(lambda: ask(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")[1] != der, SECONDS, "the new certificate")
    cert.write_text("broken", encoding="utf-8")
    live.program.signal(1)
    live.program.wait_log("certificate_kept")
    assert ask(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")[0].startswith(b"HTTP/1.1 200")


# ---- what is no request ----

GOOD = b"GET /api/v1/session HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


PATHS_UP = [
    "/../etc/passwd", "/..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/assets/../../etc/passwd", "/.%2e/x",
    "/a/./b", "/a%00b", "/a%0d%0ab", "/%", "/%4", "/%zz", "/a\\..\\b", "/..", "/assets/..", "/%ff%fe"]


def test_path_traversal(start):
    live = start(auth="none")
    for path in PATHS_UP:
        answer = live.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert head(answer) == 400 and b"root:" not in answer, path


MALFORMED = [
    (b"GET / HTTP/1.1\r\n\r\n", 400),                                              # no Host
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\nHost: x\n\n", 400),                                         # bare line feeds
    (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\nC: d\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA\x00: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x01\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    (b"GET / HTTP/0.9\r\nHost: x\r\n\r\n", 505),
    (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
    (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400),                                 # TLS to a plain port
    # smuggling: anything that a proxy in front could cut differently
    (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
    (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", 400),
    (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400),
    (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 4, 4\r\n\r\nabcd", 400),
    (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n\r\nabcd", 400),
    (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 0x4\r\n\r\nabcd", 400),
    (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\n\r\n", 411),
    (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nGET /api/v1/nodes HTTP/1.1\r\n\r\n", 400),
    (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
    (b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n", 413),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    (b"GET /" + b"a" * 9000, 414),
    (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 20000 + b"\r\n\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 80 + b"\r\n", 431),
    (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: magic\r\n\r\n", 417),
]


def test_malformed_requests_end_the_connection(start):
    """Exactly one answer, whatever follows it: nothing behind a refused request is read as another."""
    live = start()
    for request, status in MALFORMED:
        answer = live.raw(request + GOOD)
        assert head(answer) == status, (request[:200], answer[:300])
        assert len(re.findall(rb"HTTP/1.1 \d", answer)) == 1 and b"Connection: close" in answer, request[:200]
    assert live.get("/api/v1/session").status == 200


def test_pipelined_requests_are_answered_in_order(start):
    live = start(auth="none")
    answer = live.raw(b"GET /api/v1/session HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3
                      + b"GET /api/v1/unknown HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert [int(s) for s in re.findall(rb"HTTP/1.1 (\d+)", answer)] == [200, 200, 200, 404]


def test_body_in_pieces_and_expect_continue(start):
    live = start()
    body = b'{"user":"%s","password":"%s"}' % (USER.encode(), PASSWORD.encode())
    with live.connect() as s:
        s.sendall(b"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
                  b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        out = s.recv(1000)
        assert out == b"HTTP/1.1 100 Continue\r\n\r\n"
        for byte in body:
            s.sendall(bytes([byte]))
        out = b""
        while part := s.recv(65536):
            out += part
    assert head(out) == 200 and b"Set-Cookie" in out


@pytest.mark.once
def test_slowloris_makes_room(start, redis):
    """A full server: those who never finish a request go first, streams and requests go on."""
    live = start(auth="none", live={"max_clients": 40})
    Feeder(redis).node("n", 1)
    live.wait_node("n")
    with live.stream() as stream:
        stream.wait_event("hello")
        slow = []
        for _ in range(120):
            s = live.connect()
            s.sendall(b"GET / HTTP/1.1\r\nX-a: ")
            slow.append(s)
        assert live.json("/api/v1/nodes")["nodes"]
        assert not stream.ended.is_set()
        closed = 0
        deadline = time.monotonic() + SECONDS
        # Those that still wait are told 408 when the time for a head is over.
        for s in slow:
            s.settimeout(max(deadline - time.monotonic(), 1))
            try:
                answer = s.recv(1000)
            except ConnectionError:
                answer = b""
            closed += answer == b"" or head(answer) == 408
            s.close()
        assert closed == 120
        assert not stream.ended.is_set()
