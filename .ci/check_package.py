"""Checks that a package runs on Lambda's AL2023 as the template asks for it, and prints its size.

    python3 .ci/check_package.py PACKAGE.zip

Standard library only: `make package` needs no virtual environment.
"""

import re
import sys
import zipfile
from pathlib import Path

# Amazon Linux 2023 has glibc 2.34; a binary that asks for a later symbol doesn't even start there.
GLIBC_OF_AL2023 = (2, 34)
LIMIT_BYTES = 8_000_000
X86_64 = 62  # e_machine in the ELF header


def problems(binary: bytes, package_size: int) -> list[str]:
    """What keeps the package from running, each with its remedy."""
    found = []
    if binary[:4] != b"\x7fELF" or int.from_bytes(binary[18:20], "little") != X86_64:
        found.append("the binary is not for Linux on x86_64, the function's architecture: build it there")
    needed = max(((int(a), int(b)) for a, b in re.findall(rb"\bGLIBC_(\d+)\.(\d+)", binary)), default=(0, 0))
    if needed > GLIBC_OF_AL2023:
        found.append(
            f"the binary needs glibc {needed[0]}.{needed[1]}, and AL2023 has {GLIBC_OF_AL2023[0]}.{GLIBC_OF_AL2023[1]}: "
            "build it where glibc is older, such as in a container of amazonlinux:2023 or debian:12 "
            "(here it runs all the same: make demo and make test are not affected)"
        )
    if package_size > LIMIT_BYTES:
        found.append(f"the package has {package_size} bytes, more than {LIMIT_BYTES}: what has made it grow?")
    return found


def main() -> None:
    """Prints the package's size, or ends with all that is wrong with it."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    package = Path(sys.argv[1])
    size = package.stat().st_size
    with zipfile.ZipFile(package) as archive:
        found = problems(archive.read("bootstrap"), size)
        rules = sum(name.startswith("rules/") for name in archive.namelist())
    if not rules:
        found.append("the package has no rules/*.toml, and without rules nothing is automatic: look at tests/testbed/zip.py")
    if found:
        sys.exit("\n".join(f"error: {problem}" for problem in found))
    print(f"{package}: {size / 1e6:.1f} MB ({size} bytes), {rules} files of rules")


if __name__ == "__main__":
    main()
