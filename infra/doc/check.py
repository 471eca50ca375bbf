#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks that the documentation says what the programs do; run by `make check-docs`.

    check.py BIN GENERATED

BIN is the folder with the programs, GENERATED the one with freshly generated files. Fails when

- docs/man/latido.yaml.5.scd or infra/latido.yaml differs from the generated one,
- a program that is built has no page docs/man/PROGRAM.1.scd,
- a page lacks an option or command that --help shows, or has an option that --help does not show,
- a page or README.md names a configuration key that no table has,
- scdoc refuses a page.
"""

import glob
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = ("latido", "latido-agent", "latido-alert", "latido-bridge", "latido-hot",
            "latido-live", "latido-load", "latido-store")
GENERATED = {"latido.yaml.5.scd": "docs/man/latido.yaml.5.scd", "latido.yaml": "infra/latido.yaml"}
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]*|-[A-Za-z])(?![\w-])")
KEY = re.compile(r"(?<![\w/.-])([a-z]+\.[a-z_]+(?:\.[a-z_]+)*)(?![\w/(-])")
FILE_ENDINGS = {"c", "h", "md", "py", "lua", "sql", "yaml", "sock", "service", "proto", "example", "local"}
COMMAND = re.compile(r"^  ([a-z][a-z-]+)(?:  | [A-Z\[<-])", re.MULTILINE)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def check_generated(folder):
    for name, committed in GENERATED.items():
        path = os.path.join(ROOT, committed)
        if not os.path.exists(path) or read(path) != read(os.path.join(folder, name)):
            yield f"{committed} is not what the tables of lib/conf give; run `make docs` and commit it"


def help_text(*command):
    run = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=60, check=False)
    if run.returncode or not run.stdout:
        raise SystemExit(f"{' '.join(command)} --help: exit code {run.returncode}: {run.stderr}")
    return run.stdout


def options(text):
    """Options in a text; "--" and option names inside of words are none."""
    return set(OPTION.findall(text))


def unescaped(page):
    return re.sub(r"\\(.)", r"\1", page)


def check_page(program, path):
    shown = help_text(program)
    name = os.path.basename(program)
    page = os.path.join(ROOT, "docs", "man", name + ".1.scd")
    if not os.path.exists(page):
        yield f"{os.path.relpath(page, ROOT)} is missing, the page of {name}"
        return
    text = unescaped(read(page))
    # some have commands, each with its own --help
    commands = COMMAND.findall(shown) if "[COMMAND]" in shown or "COMMAND [" in shown else []
    for command in commands:
        if command != "help":
            shown += help_text(program, command)
        if not re.search(rf"\b{re.escape(command)}\b", text):
            yield f"{path}: the command {command} of `{name} --help` is missing"
    # the page tells of options of other programs too, where it names them: latido-store --migrate
    other = r"(?!" + name + r"(?![a-z-]))latido[a-z-]*"
    own = re.sub(r"\*?" + other + r"\*?(?:\(1\))? --[a-z-]+", "", text)
    own = re.sub(r"^\t" + other + r" .*$", "", own, flags=re.M)  # an example with another program
    for option in sorted(options(shown) - options(text)):
        yield f"{path}: {option} of `{name} --help` is missing"
    for option in sorted(options(own) - options(shown)):
        yield f"{path}: {option} is not in `{name} --help`"


def known_keys(page):
    """Keys, their _file companions and the groups that they stand in, from the generated page."""
    keys = set(re.findall(r"\*([a-z]+\.[a-z_.]+)\*", unescaped(page)))
    return keys | {".".join(key.split(".")[:n]) for key in keys for n in range(2, key.count(".") + 1)}


def check_keys(folder):
    keys = known_keys(read(os.path.join(folder, "latido.yaml.5.scd")))
    sections = {key.split(".")[0] for key in keys}
    for path in sorted([*glob.glob(os.path.join(ROOT, "docs", "man", "*.scd")), os.path.join(ROOT, "README.md")]):
        if not os.path.exists(path):
            continue
        for key in sorted(set(KEY.findall(unescaped(read(path)))) - keys):
            section, _, rest = key.partition(".")
            if section in sections and rest.rpartition(".")[2] not in FILE_ENDINGS:
                yield f"{os.path.relpath(path, ROOT)}: {key} is no configuration key"


def check_scdoc():
    for path in sorted(glob.glob(os.path.join(ROOT, "docs", "man", "*.scd"))):
        run = subprocess.run(["scdoc"], input=read(path), capture_output=True, text=True, timeout=60, check=False)
        if run.returncode:
            yield f"{os.path.relpath(path, ROOT)}: {run.stderr.strip()}"


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    binaries, generated = sys.argv[1:]
    problems = [*check_generated(generated), *check_keys(generated), *check_scdoc()]
    for name in PROGRAMS:
        program = os.path.join(binaries, name)
        if os.path.exists(program):
            problems += check_page(os.path.abspath(program), f"docs/man/{name}.1.scd")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
