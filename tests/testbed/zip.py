"""Zips a binary as `bootstrap`, the shape that Lambda's custom runtimes expect, with the rules beside it.

    python3 tests/testbed/zip.py BINARY OUT.zip [RULES]

RULES is the folder of the rule files (*.toml), by default the project's own. The same files give the same bytes: a deployment that changes nothing shows as such. Standard library only, so that
packaging works before the virtual environment exists.
"""

import sys
import zipfile
from pathlib import Path

# The first date that the format can hold: no clock in the package.
EPOCH = (1980, 1, 1, 0, 0, 0)

OWN_RULES = Path(__file__).resolve().parents[2] / "rules"


def write_package(binary: Path, out: Path, rules: Path | None = None) -> Path:
    """Writes `out` with `binary` as the executable `bootstrap` (mode 755) and the rule files of a folder, and returns it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w") as archive:
        add(archive, "bootstrap", 0o755, binary.read_bytes())
        for path in sorted(rules.glob("*.toml")) if rules else ():
            add(archive, f"rules/{path.name}", 0o644, path.read_bytes())
    return out


def add(archive: zipfile.ZipFile, name: str, mode: int, data: bytes) -> None:
    """Adds a file with this mode."""
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3
    entry.external_attr = (0o100000 | mode) << 16
    archive.writestr(entry, data, compresslevel=9)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    write_package(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) == 4 else OWN_RULES)
