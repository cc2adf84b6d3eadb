"""Starts moto with what it leaves out of EC2 and Auto Scaling filled in.

What AWS keeps, counts and gives back is mended here, not in the proxy: tests set up and read back past the proxy, and must see
the same. What AWS refuses because of a call's form, its caller or a test's wish is the proxy's.
"""

import auto_scaling
import ec2_instances
import ec2_network_acls
import ec2_network_interfaces
import ec2_security_groups
import moto_speed
from moto import server


def main() -> None:
    """Fills the gaps, then hands over to moto with the command line's arguments."""
    auto_scaling.install()
    ec2_instances.install()
    ec2_network_acls.install()
    ec2_network_interfaces.install()
    ec2_security_groups.install()
    moto_speed.install()
    server.main()


if __name__ == "__main__":
    main()
