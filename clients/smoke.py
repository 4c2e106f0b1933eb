"""Decides whether the small clients in other languages keep the contract, against the real hub.

    python3 clients/smoke.py PROGRAM

PROGRAM is `luytre-smoke` as clients/go/build and clients/java/build make it. Nothing is needed but
Python; the hub is started as the tests of the Python client start it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "python" / "tests"))

from hub import Hub, replace

PROGRAM = ""


class Smoke(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory(prefix="luytre-smoke-")
        self.addCleanup(directory.cleanup)
        self.place = Path(directory.name)
        self.hub = Hub(self.place)
        self.addCleanup(self.hub.stop)
        self.soc = self.hub.identity("so-khcn-2025/system/soc", "soc")

    def start(self, *command: str, text: str = "") -> subprocess.Popen[str]:
        """Run the program with one of its commands."""
        files = [argument for part, path in self.soc.items() for argument in (f"--{part}", str(path))]
        running = subprocess.Popen(
            [PROGRAM, "--hub", self.hub.address, *files, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert running.stdin is not None
        running.stdin.write(text)
        running.stdin.close()
        running.stdin = None
        self.addCleanup(running.communicate)
        self.addCleanup(running.kill)
        return running

    def end(self, running: subprocess.Popen[str]) -> list[str]:
        """What it printed; it must have succeeded."""
        out, told = running.communicate(timeout=120)
        self.assertEqual(running.returncode, 0, told)
        return out.splitlines()

    def run_it(self, *command: str, text: str = "") -> list[str]:
        return self.end(self.start(*command, text=text))

    def subscribe(self, count: int) -> list[str]:
        lines = self.run_it("subscribe", str(self.place / "token"), str(count))
        return [f"{line.split()[0]} {line.split()[2]}" for line in lines]

    def test_a_client_publishes_and_receives_each_event_once(self) -> None:
        self.assertEqual(self.run_it("whoami"), ["organisations/so-khcn-2025"])

        first = ["198.51.100[.]7", "not a value at all", "hxxp://bad[.]example/a", "d41d8cd98f00b204e9800998ecf8427e"]
        self.assertEqual(
            self.run_it("publish", text="\n".join(first) + "\n"),
            [
                "0 PUBLISH_EFFECT_CREATED",
                "1 FIELD_INVALID",
                "2 PUBLISH_EFFECT_CREATED",
                "3 PUBLISH_EFFECT_CREATED",
            ],
        )
        self.assertEqual(
            self.subscribe(2), ["EVENT_KIND_NEW 198.51.100.7", "EVENT_KIND_NEW http://bad.example/a"]
        )

        # Killed as by the power: exactly the rest comes.
        self.hub.kill()
        self.hub.start()
        many = [f"host-{number}.example" for number in range(1200)]
        verdicts = self.run_it("publish", text="\n".join(many))
        self.assertEqual(verdicts, [f"{number} PUBLISH_EFFECT_CREATED" for number in range(1200)])
        self.assertEqual(
            self.subscribe(1201),
            ["EVENT_KIND_NEW d41d8cd98f00b204e9800998ecf8427e", *(f"EVENT_KIND_NEW {host}" for host in many)],
        )
        # The same content again changes nothing, and tells nobody.
        self.assertEqual(self.run_it("publish", text=first[0]), ["0 PUBLISH_EFFECT_UNCHANGED"])

    def test_a_waiting_subscriber_outlives_the_hub_and_its_own_certificate(self) -> None:
        waiting = self.start("subscribe", str(self.place / "token"), "2")
        self.run_it("publish", text="one.example")
        assert waiting.stdout is not None
        self.assertIn("one.example", waiting.stdout.readline())
        self.hub.kill()
        old = self.serial(self.soc["cert"])
        replace(self.soc, self.hub.identity("so-khcn-2025/system/soc", "renewed"))
        self.hub.run("pki", "revoke", "--dir", str(self.hub.pki), "--serial", old)
        self.hub.start()
        self.run_it("publish", text="two.example")
        rest = self.end(waiting)
        self.assertEqual([line.split()[2] for line in rest], ["two.example"])

    def test_a_client_says_why_it_was_refused(self) -> None:
        (self.place / "token").write_bytes(b"not a token")
        refused = self.start("subscribe", str(self.place / "token"), "1")
        _, told = refused.communicate(timeout=120)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("RESUME_TOKEN_INVALID", told)

    def serial(self, cert: Path) -> str:
        shown = self.hub.run("pki", "show", str(cert)).splitlines()
        return next(line.split()[1] for line in shown if line.startswith("serial"))


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit(f"usage: {sys.argv[0]} PROGRAM")
    PROGRAM = sys.argv.pop()
    unittest.main()
