"""Launchers of the two emulators: moto for EC2 and Auto Scaling, ministack for everything else."""

import http.client
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

from .accounts import MEMBER, REGION
from .certificates import Certificates
from .ports import free_port
from .process import Child

LAUNCH = Path(__file__).parent / "launch"


def _answers(connection: http.client.HTTPConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def start_ministack(folder: Path, certificates: Certificates) -> tuple[Child, str]:
    """Starts ministack with IAM enforced, over TLS, and nothing in its environment: functions inherit it."""
    port, temporary = free_port(), folder / "ministack"
    temporary.mkdir()
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(temporary),
        "TMPDIR": str(temporary),
        "STATE_DIR": str(temporary / "state"),
        "S3_DATA_DIR": str(temporary / "s3"),
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "AUTH": "true",
        "USE_SSL": "1",
        "MINISTACK_SSL_CERT": str(certificates.cert),
        "MINISTACK_SSL_KEY": str(certificates.key),
        "MINISTACK_REGION": REGION,
        # Listeners that nobody asked for.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
    }
    child = Child("ministack", [sys.executable, str(LAUNCH / "ministack_main.py")], env, folder / "ministack.log")
    trust = ssl.create_default_context(cafile=str(certificates.ca))

    def ready() -> bool:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=trust)
        return _answers(connection, "/_ministack/health")

    return _ready(child, ready), f"https://127.0.0.1:{port}"


def start_moto(folder: Path) -> tuple[Child, str]:
    """Starts moto for EC2 and Auto Scaling; it is one account, the member's."""
    port = free_port()
    env = {
        "PATH": "/usr/bin:/bin",
        "TMPDIR": str(folder),
        "MOTO_ACCOUNT_ID": MEMBER,
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
    }
    command = [sys.executable, str(LAUNCH / "moto_main.py"), "-H", "127.0.0.1", "-p", str(port)]
    child = Child("moto", command, env, folder / "moto.log")

    def ready() -> bool:
        return _answers(http.client.HTTPConnection("127.0.0.1", port, timeout=2), "/moto-api/")

    return _ready(child, ready), f"http://127.0.0.1:{port}"


def _ready(child: Child, ready: Callable[[], bool]) -> Child:
    try:
        child.wait_until(ready)
    except BaseException:
        child.stop()
        raise
    return child
