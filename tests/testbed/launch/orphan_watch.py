"""Ends the emulator and all functions that it runs when whoever started it is gone, killed perhaps without a chance to say so.

ministack may hang in its own end when it gets a SIGTERM with calls under way; the functions are in its process group.
"""

import os
import signal
import threading
import time


def install() -> None:
    """Looks twice a second whether the parent is still the same."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    # Only where the group is the emulator's own, as the bed starts it.
    if os.getpgrp() == os.getpid():
        threading.Thread(target=watch, daemon=True, name="orphan-watch").start()
