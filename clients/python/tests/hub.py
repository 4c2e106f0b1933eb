"""Decides how the tests run the real hub, and how they harm it."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).resolve().parents[3]
DOMAIN = "luytre.example"
PATIENCE = 120


def binary(name: str) -> str:
    """One of the project's programs, where make builds them."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    target = os.environ.get("CARGO_TARGET_DIR") or f"{cache}/luytre/target"
    path = Path(target) / "debug" / name
    assert path.is_file(), f"{path} is missing; run: make test-python"
    return str(path)


class Hub:
    """A `luytred` of its own, in a directory of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pki = path / "pki"
        self._process: subprocess.Popen[str] | None = None
        self._log: list[str] = []
        self.run("pki", "init", "--dir", str(self.pki), "--trust-domain", DOMAIN)
        self.run("pki", "issue", "--dir", str(self.pki), "server", "--ip", "127.0.0.1", "--dns", "localhost")
        subprocess.run(
            [
                *(binary("luytred"), "init", "--data", str(path / "data"), "--trust-domain", DOMAIN),
                *("--roster", str(REPOSITORY / "demo" / "roster.json")),
                *("--operator", f"spiffe://{DOMAIN}/org/ubnd-hanoi/user/van-hanh"),
            ],
            check=True,
            capture_output=True,
            timeout=PATIENCE,
        )
        self._configure("127.0.0.1:0")
        self.address = self.start()
        # A hub that is started again is to be found where it was.
        self._configure(self.address)

    def run(self, *arguments: str) -> str:
        """Run `luytre`."""
        done = subprocess.run(
            [binary("luytre"), *arguments], check=True, capture_output=True, text=True, timeout=PATIENCE
        )
        return done.stdout

    def identity(self, who: str, name: str) -> dict[str, Path]:
        """Issue a certificate for `organisation/system/name`; what a client is made with."""
        self.run(
            "pki",
            "issue",
            "--dir",
            str(self.pki),
            "client",
            "--id",
            f"spiffe://{DOMAIN}/org/{who}",
            "--name",
            name,
        )
        return {
            "ca": self.pki / "server-ca.pem",
            "cert": self.pki / f"{name}.pem",
            "key": self.pki / f"{name}.key",
        }

    def revoke(self, serial: str) -> None:
        """Revoke a certificate, and have the hub know at once."""
        self.run("pki", "revoke", "--dir", str(self.pki), "--serial", serial)
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def start(self) -> str:
        """Start it; return its address once it serves."""
        self._process = subprocess.Popen(
            [binary("luytred"), "serve", "--config", str(self.path / "hub.toml")],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        serving: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, args=(self._process.stderr, serving), daemon=True).start()
        line = serving.get(timeout=PATIENCE)
        assert line, "the hub did not start:\n" + "".join(self._log[-20:])
        return line.split("grpc=", 1)[1].split()[0]

    def _listen(self, log: IO[str], serving: queue.Queue[str]) -> None:
        with log:
            for line in log:
                self._log.append(line)
                if " serving " in line or line.startswith("serving"):
                    serving.put(line)
        serving.put("")

    def kill(self) -> None:
        """End it as the power does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE)
        self._process = None

    def stop(self) -> None:
        """End it in good order, if it runs."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            finally:
                self.kill()

    def _configure(self, listen: str) -> None:
        (self.path / "hub.toml").write_text(
            f"""
data_dir = "data"
trust_domain = "{DOMAIN}"
[grpc]
listen = "{listen}"
cert = "pki/server.pem"
key = "pki/server.key"
client_ca = "pki/client-ca.pem"
client_crl = "pki/client-crl.pem"
[http]
listen = "127.0.0.1:0"
"""
        )


def replace(old: dict[str, Path], new: dict[str, Path]) -> None:
    """Put a new certificate and its key in the place of the old ones, as a renewal does."""
    for part in ("cert", "key"):
        beside = old[part].with_suffix(".new")
        shutil.copy(new[part], beside)
        beside.replace(old[part])


class Wire:
    """A wire to the hub that can be cut."""

    def __init__(self, hub: str) -> None:
        host, port = hub.rsplit(":", 1)
        self._hub = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut(self) -> int:
        """Break every connection, whatever is on its way; return how many there were."""
        with self._guard:
            for end in self._ends:
                _shut(end)
            return len(self._ends) // 2

    def close(self) -> None:
        """Cut it for good."""
        _shut(self._listener)
        self._threads[0].join()
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._hub)
            except OSError:
                near.close()
                continue
            self._threads.append(threading.Thread(target=self._join, args=(near, far)))
            self._threads[-1].start()

    def _join(self, near: socket.socket, far: socket.socket) -> None:
        with near, far:
            with self._guard:
                self._ends |= {near, far}
            back = threading.Thread(target=_carry, args=(far, near))
            back.start()
            _carry(near, far)
            back.join()
            with self._guard:
                self._ends -= {near, far}


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _shut(source)
    _shut(sink)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
