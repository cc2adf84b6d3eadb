"""One bed and one product for all tests of a run. Tests share them: names are unique, notices and calls asked by name."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from testbed.bed import REPOSITORY, Bed, running_bed
from testbed.matrix.lane import Lane, make_lane
from testbed.permissions_used import seen
from testbed.product import Product, deploy_product
from testbed.victims import unique


@pytest.fixture(scope="session")
def bed() -> Iterator[Bed]:
    """The emulators and the proxy. `KEEP_BED=1` leaves their logs; `PERMISSIONS_SEEN` names a folder for the rights that were used."""
    with running_bed(keep_folder="KEEP_BED" in os.environ) as bed:
        yield bed
        if folder := os.environ.get("PERMISSIONS_SEEN"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{os.getpid()}.json").write_text(json.dumps(seen(bed.proxy)))


@pytest.fixture(scope="session")
def package() -> Path:
    """The zip under test: `PACKAGE_ZIP`, or what `make package` writes."""
    package = Path(os.environ.get("PACKAGE_ZIP", REPOSITORY / "target" / "lambda" / "entity-lockdown.zip"))
    if not package.is_file():
        pytest.fail(f"{package} is missing: run `make package`, or set PACKAGE_ZIP")
    return package


@pytest.fixture(scope="session")
def product(bed: Bed, package: Path) -> Product:
    """The product with the defaults of its templates, deployed by them; `protected-*` users are protected."""
    return deploy_product(bed, package, ProtectedArns="arn:aws:iam::222222222222:user/protected-*")


@pytest.fixture
def another(bed: Bed, package: Path) -> Callable[..., Product]:
    """Deploys a product of the test's own: other parameters, a fresh process, a mailbox that nobody else fills."""

    def deploy(**parameters: str) -> Product:
        return deploy_product(bed, package, unique("lockdown"), **parameters)

    return deploy


@pytest.fixture(scope="session")
def configured(bed: Bed, package: Path) -> Callable[..., Product]:
    """A product with these parameters, deployed once for all tests of a run that ask for the same ones."""
    deployed: dict[tuple[tuple[str, str], ...], Product] = {}

    def deploy(**parameters: str) -> Product:
        key = tuple(sorted(parameters.items()))
        if key not in deployed:
            deployed[key] = deploy_product(bed, package, unique("lockdown"), **parameters)
        return deployed[key]

    return deploy


@pytest.fixture(scope="session")
def lanes(bed: Bed, package: Path) -> list[Lane]:
    """Products that only the matrices use, side by side (`MATRIX_LANES` says how many)."""
    return [make_lane(bed, package) for _ in range(int(os.environ.get("MATRIX_LANES", "3")))]
