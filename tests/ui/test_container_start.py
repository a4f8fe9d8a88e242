"""The first start where nobody sits at the machine: an owner from standard input, then every address is served."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from tests.ui.browsing import ROOT, RUNGS, SCRIPTED, served

GOOD = "correct horse battery"
NAME = "support.example.com"
ANYWHERE = {**SCRIPTED, "RUNGS_HOST": "0.0.0.0", "RUNGS_HOSTS": json.dumps([NAME])}


def run(home: Path, *words: str, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """One command as a container runs it: standard input is a pipe, nothing is a terminal."""
    environment = {**os.environ, **ANYWHERE, **more, "RUNGS_HOME": str(home)}
    command = [sys.executable, "-c", RUNGS, *words]
    return subprocess.run(command, cwd=ROOT, env=environment, input=stdin, capture_output=True, text=True, timeout=120)


def test_nobody_is_let_in_from_elsewhere_before_there_is_an_owner_and_a_name(tmp_path: Path) -> None:
    home = tmp_path / "home"
    refused = run(home, "serve", "--port", "0")
    assert refused.returncode == 1 and "rungs accounts create-owner" in refused.stderr
    assert run(home, "accounts", "create-owner", "ann", stdin="").returncode == 1, "no password is none"
    assert run(home, "accounts", "create-owner", "ann", stdin="short\n").returncode == 1
    made = run(home, "accounts", "create-owner", "ann", stdin=f"{GOOD}\n")
    assert made.returncode == 0, made.stderr
    assert GOOD not in made.stdout + made.stderr
    nameless = run(home, "serve", "--port", "0", RUNGS_HOSTS="[]")
    assert nameless.returncode == 1 and "hosts" in nameless.stderr


def test_the_owner_of_a_container_logs_in_under_its_name(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert run(home, "accounts", "create-owner", "ann", stdin=f"{GOOD}\n").returncode == 0
    with served(home, ANYWHERE) as site:
        port = int(site.url.rsplit(":", 1)[1])
        log = (tmp_path / "home.log").read_text()
        assert "setup?token" not in log, "there is an owner"
        own = {"host": NAME}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as web:
            assert web.get("/healthz", headers=own).status_code == 200
            assert web.get("/healthz", headers={"host": "evil.test"}).status_code == 421
            assert web.get("/console/", headers=own).status_code == 401
            form = {"name": "ann", "password": GOOD, "next": "/console/"}
            entered = web.post("/login", data=form, headers={**own, "origin": f"http://{NAME}"})
            assert (entered.status_code, entered.headers["location"]) == (303, "/console/")
            cookie = re.split("[;]", entered.headers["set-cookie"])[0]
            assert web.get("/console/", headers={**own, "cookie": cookie}).status_code == 200
        with socket.create_connection((own_address(), port), 10):  # every address listens, not loopback alone
            pass


def own_address() -> str:
    """An address of this machine that is not loopback's, or loopback where it has no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only chooses a way out
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
