# SPDX-License-Identifier: MIT
"""`make install` into a folder of its own, the systemd units, and the sample configuration."""

import os
import re
import subprocess

import pytest
from conftest import BIN, ROOT

DAEMONS = ("latido-agent", "latido-hot", "latido-store", "latido-bridge", "latido-alert", "latido-live")
PAGES = [name.removesuffix(".scd") for name in os.listdir(f"{ROOT}/docs/man") if name.endswith(".scd")]
EXPOSURE = 20  # systemd-analyze security counts 0 (best) to 100


def make(*args):
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "SANITIZE", "O")}
    return subprocess.run(["make", "-C", ROOT, *args], env=env, capture_output=True, text=True, timeout=900, check=True)


def below(folder):
    return sorted(os.path.relpath(os.path.join(base, name), folder)
                  for base, _, names in os.walk(folder) for name in names)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with everything installed below usr and etc, as the programs and units see it."""
    folder = str(tmp_path_factory.mktemp("installed"))
    make("install", f"PREFIX={folder}/usr", f"SYSCONFDIR={folder}/etc")
    return folder


def test_files_and_places(installed):
    files = below(installed)
    assert files == sorted([
        "etc/latido/latido.yaml",
        "usr/bin/latido", "usr/bin/latido-load", *(f"usr/bin/{d}" for d in DAEMONS),
        *(f"usr/lib/systemd/system/{d}.service" for d in DAEMONS),
        *(f"usr/share/doc/latido/{name}" for name in ("bounds.md", "kmod.md", "latido.yaml")),
        "usr/share/latido/alerts/latido.yaml", "usr/share/latido/alerts/node.yaml",
        "usr/share/bash-completion/completions/latido",
        *(f"usr/share/man/man{page[-1]}/{page}" for page in PAGES),
    ])
    assert {"latido.1", "latido.yaml.5"} < set(PAGES)  # check-docs sees to the rest
    for name in files:
        mode = os.stat(os.path.join(installed, name)).st_mode & 0o777
        assert mode == (0o755 if "/bin/" in name else 0o644), name


def test_destdir_keeps_a_changed_configuration_and_uninstall_too(tmp_path):
    """Packages stage with DESTDIR; paths inside the files are those without it."""
    where = [f"DESTDIR={tmp_path}", "PREFIX=/opt/latido"]
    make("install", *where)
    unit = (tmp_path / "opt/latido/lib/systemd/system/latido-store.service").read_text()
    assert re.findall(r"^ExecStart=(.*)$", unit, re.M) == ["/opt/latido/bin/latido-store"]
    config = tmp_path / "etc/latido/latido.yaml"
    config.write_text("log: {level: debug}\n")
    make("install", *where)
    assert config.read_text() == "log: {level: debug}\n"
    make("uninstall", *where)
    assert below(tmp_path) == ["etc/latido/latido.yaml"]


@pytest.mark.parametrize("daemon", DAEMONS)
def test_unit_is_valid_and_hardened(installed, daemon):
    unit = f"{installed}/usr/lib/systemd/system/{daemon}.service"
    # it prints what it does not know and exits 0 all the same
    verify = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", unit],
                            capture_output=True, text=True, timeout=60, check=False)
    assert (verify.returncode, verify.stdout + verify.stderr) == (0, "")
    security = subprocess.run(["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", unit],
                              capture_output=True, text=True, timeout=60, check=False)
    assert security.returncode == 0, security.stdout + security.stderr
    assert "Overall exposure level" in security.stdout + security.stderr
    text = open(unit, encoding="utf-8").read()
    for line in ("Type=notify", "RestartPreventExitStatus=2 78", "WatchdogSec=30s"):
        assert re.search(rf"^{line}$", text, re.M), line


@pytest.mark.parametrize("daemon", DAEMONS)
def test_installed_configuration_is_valid_and_that_of_the_program(installed, daemon):
    program, config = f"{BIN}/{daemon}", f"{installed}/etc/latido/latido.yaml"
    check = subprocess.run([program, "-c", config, "--check-config"], capture_output=True, text=True, timeout=60,
                           check=False)
    assert (check.returncode, check.stderr) == (0, "")
    sample = subprocess.run([program, "--print-sample-config"], capture_output=True, text=True, timeout=60, check=False)
    assert sample.returncode == 0
    assert sample.stdout == open(config, encoding="utf-8").read()


@pytest.mark.parametrize("daemon", DAEMONS)
def test_wrong_configuration_exits_78_and_names_each_place(daemon, write_config):
    config = write_config("log:\n  level: wrn\nbus:\n  ulr: x\n")
    for option in ((), ("--check-config",), ("--print-config",)):
        run = subprocess.run([f"{BIN}/{daemon}", "-c", config, *option], capture_output=True, text=True, timeout=60,
                             check=False)
        assert run.returncode == 78
        assert run.stdout == ""
        assert run.stderr == (
            f"{config}:2:10: error: log.level: not one of error, warn, info, debug: \"wrn\"; did you mean warn?\n"
            "    level: wrn\n"
            "           ^\n"
            f"{config}:4:3: error: bus.ulr: unknown key; did you mean url?\n"
            "    ulr: x\n"
            "    ^\n")


@pytest.mark.parametrize("page", PAGES)
def test_manual_page_is_readable(installed, page):
    with open(f"{installed}/usr/share/man/man{page[-1]}/{page}", encoding="utf-8") as file:
        text = file.read()
    assert text.count("\n.SH ") >= 3
    assert ".TH \"" + page[:-2] + "\" \"" + page[-1] + "\"" in text
