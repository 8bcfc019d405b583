"""Pebble, an ACME server for tests, on loopback: it looks up names at a server of the test."""

import json
import os
import shutil
import socket
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from tests.support.mail_system import free_port


class AcmeServer:
    """Pebble, as a context.  `url`: its directory; `ca`: the file that vouches for its own certificate."""

    def __init__(self, folder: Path, name_server_port: int, **environ: str) -> None:
        self.http_port, self.alpn_port = free_port(), free_port()
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}/dir"
        self.ca = folder / "ca.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        pair = authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=30))
        pair.private_key_pem.write_to_path(str(folder / "key.pem"))
        pair.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
        (folder / "pebble.json").write_text(
            json.dumps(
                {
                    "pebble": {
                        "listenAddress": f"127.0.0.1:{self.port}",
                        "managementListenAddress": f"127.0.0.1:{free_port()}",
                        "certificate": str(folder / "cert.pem"),
                        "privateKey": str(folder / "key.pem"),
                        "httpPort": self.http_port,
                        "tlsPort": self.alpn_port,
                    }
                }
            )
        )
        self._log = (folder / "pebble.log").open("wb")
        command = ["pebble", "-config", str(folder / "pebble.json"), "-dnsserver", f"127.0.0.1:{name_server_port}"]
        environ = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0", **environ}
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=self._log, env=os.environ | environ, cwd=folder
        )

    def __enter__(self) -> "AcmeServer":
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return self
            except OSError:
                time.sleep(0.05)
        raise AssertionError(Path(self._log.name).read_text())

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()


def is_here() -> bool:
    """Whether the program is installed."""
    return shutil.which("pebble") is not None
