"""An AWS of two emulators on this machine, truthful enough to test containment on, and the proxy that closes their gaps."""
