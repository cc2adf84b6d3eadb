"""Zips a binary as `bootstrap`, the shape that Lambda's custom runtimes expect.

    python3 tests/testbed/zip.py BINARY OUT.zip

The same binary gives the same bytes: a deployment that changes nothing shows as such. Standard library only, so that
packaging works before the virtual environment exists.
"""

import sys
import zipfile
from pathlib import Path

# The first date that the format can hold: no clock in the package.
EPOCH = (1980, 1, 1, 0, 0, 0)


def write_package(binary: Path, out: Path) -> Path:
    """Writes `out` with `binary` as the executable `bootstrap` (mode 755) and returns it."""
    entry = zipfile.ZipInfo("bootstrap", EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3
    entry.external_attr = 0o100755 << 16
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(entry, binary.read_bytes(), compresslevel=9)
    return out


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    write_package(Path(sys.argv[1]), Path(sys.argv[2]))
