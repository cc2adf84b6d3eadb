"""Network interfaces as AWS gives them back.

- Connection-tracking timeouts, prefixes and the interface type are kept. The types of AWS's own services (`nat_gateway`, ...)
  can't be asked for on AWS; set-up asks for them here, and gets an interface that is requester-managed.
- A NAT gateway, an interface endpoint, a Gateway Load Balancer endpoint and a transit gateway attachment have interfaces in
  their subnets, of their own types (Amazon EC2 API Reference, DescribeNetworkInterfaces, filter `interface-type`).
- Addresses lie in the subnet and are nobody else's; moto draws them by chance, so that two interfaces may have one address.
- Each private address has its own association with a public one; without any, there is no association at all.
"""

import ipaddress
import threading
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.elastic_network_interfaces import NetworkInterface, NetworkInterfaceBackend
from moto.ec2.models.nat_gateways import NatGatewayBackend
from moto.ec2.models.transit_gateway_attachments import TransitGatewayAttachmentBackend
from moto.ec2.models.vpcs import VPCBackend
from moto.ec2.responses.elastic_network_interfaces import ElasticNetworkInterfaces

# What a caller may ask for (Amazon EC2 API Reference, CreateNetworkInterface) and `interface` itself; all else is AWS's own.
CUSTOMERS_TYPES = {"interface", "efa", "efa-only", "branch", "trunk"}
# moto serves calls at once on several threads; looking for an address and taking it must be one act.
LOCK = threading.RLock()


def free_address(backend: Any, subnet: Any) -> str:
    """The lowest free address; AWS keeps the first four and the last (Amazon VPC User Guide, "Subnet CIDR blocks")."""
    network = ipaddress.ip_network(subnet.cidr_block)
    interfaces = [eni for eni in list(backend.enis.values()) if eni.subnet.id == subnet.id]
    used = {address["PrivateIpAddress"] for eni in interfaces for address in eni.private_ip_addresses}
    for offset in range(4, network.num_addresses - 1):
        address = str(network.network_address + offset)
        if address not in used and address not in subnet._subnet_ips:
            return address
    raise EC2ClientError("InsufficientFreeAddressesInSubnet", f"There are not enough free addresses in subnet '{subnet.id}'.")


def make_aws_own(interface: Any, kind: str, description: str) -> None:
    """Turns an interface into one of AWS's own."""
    interface.interface_type, interface.description = kind, description
    interface.requester_managed = kind not in CUSTOMERS_TYPES


def _install_creation() -> None:
    create, answer = NetworkInterfaceBackend.create_network_interface, ElasticNetworkInterfaces.create_network_interface
    modify = ElasticNetworkInterfaces.modify_network_interface_attribute
    delete = NetworkInterfaceBackend.delete_network_interface

    def create_with_free_addresses(self: Any, subnet: Any, private_ip_address: Any = None, *rest: Any, **more: Any) -> Any:
        subnet = self.get_subnet(subnet) if isinstance(subnet, str) else subnet
        network = ipaddress.ip_network(subnet.cidr_block)
        several = rest[0] if rest else more.get("private_ip_addresses")
        secondary = int(more.pop("secondary_ips_count", None) or 0)
        with LOCK:
            drawn = private_ip_address if isinstance(private_ip_address, str) else ""
            if not several and (not drawn or ipaddress.ip_address(drawn) not in network):
                private_ip_address = free_address(self, subnet)
            interface = create(self, subnet, private_ip_address, *rest, **more)
            for _ in range(secondary):
                interface.private_ip_addresses.append({"Primary": False, "PrivateIpAddress": free_address(self, subnet)})
            for address in interface.private_ip_addresses:
                subnet._subnet_ips[address["PrivateIpAddress"]] = interface
        return interface

    def create_with_all_that_was_asked(self: Any) -> Any:
        made = answer(self)
        interface = made.result["NetworkInterface"]
        kind = self._get_param("InterfaceType") or "interface"
        make_aws_own(interface, kind, interface.description)
        interface.connection_tracking_configuration = self._get_param("ConnectionTrackingSpecification")
        interface.ipv4_prefixes = self._get_param("Ipv4Prefixes")
        interface.ipv6_prefixes = self._get_param("Ipv6Prefixes")
        return made

    def modify_tracking_too(self: Any) -> Any:
        if tracking := self._get_param("ConnectionTrackingSpecification"):
            interface = self.ec2_backend.get_network_interface(self._get_param("NetworkInterfaceId"))
            kept = getattr(interface, "connection_tracking_configuration", None) or {}
            interface.connection_tracking_configuration = {**kept, **tracking}
        return modify(self)

    def delete_and_free(self: Any, eni_id: str) -> None:
        interface = self.enis.get(eni_id)
        delete(self, eni_id)
        for address in interface.private_ip_addresses if interface else []:
            interface.subnet.del_subnet_ip(address["PrivateIpAddress"])

    NetworkInterfaceBackend.delete_network_interface = delete_and_free
    NetworkInterfaceBackend.create_network_interface = create_with_free_addresses
    ElasticNetworkInterfaces.create_network_interface = create_with_all_that_was_asked
    ElasticNetworkInterfaces.modify_network_interface_attribute = modify_tracking_too


def _install_owners() -> None:
    nat, endpoint = NatGatewayBackend.create_nat_gateway, VPCBackend.create_vpc_endpoint
    attach = TransitGatewayAttachmentBackend.create_transit_gateway_vpc_attachment

    def nat_with_its_interface(self: Any, *rest: Any, **more: Any) -> Any:
        gateway = nat(self, *rest, **more)
        make_aws_own(gateway._eni, "nat_gateway", f"Interface for NAT Gateway {gateway.id}")
        return gateway

    def endpoint_with_its_interfaces(self: Any, *rest: Any, **more: Any) -> Any:
        made = endpoint(self, *rest, **more)
        kinds = {"Interface": "vpc_endpoint", "GatewayLoadBalancer": "gateway_load_balancer_endpoint"}
        kind = kinds.get(made.vpc_endpoint_type)
        if kind == "gateway_load_balancer_endpoint":
            made.network_interface_ids = [self.create_network_interface(subnet, None).id for subnet in made.subnet_ids or []]
        for interface in made.network_interface_ids or [] if kind else []:
            make_aws_own(self.get_network_interface(interface), kind, f"VPC Endpoint Interface {made.id}")
        return made

    def attach_with_interfaces(self: Any, *rest: Any, **more: Any) -> Any:
        attachment = attach(self, *rest, **more)
        for subnet in attachment.subnet_ids:
            made = self.create_network_interface(subnet, None)
            make_aws_own(made, "transit_gateway", f"Network Interface for Transit Gateway Attachment {attachment.id}")
        return attachment

    NatGatewayBackend.create_nat_gateway = nat_with_its_interface
    VPCBackend.create_vpc_endpoint = endpoint_with_its_interfaces
    TransitGatewayAttachmentBackend.create_transit_gateway_vpc_attachment = attach_with_interfaces


def _install_associations() -> None:
    association = NetworkInterface.association.fget

    def association_if_there_is_one(self: Any) -> Any:
        return association(self) if self.public_ip else None

    def addresses(self: Any) -> Any:
        """This name is what the answer to DescribeNetworkInterfaces looks for."""
        own = association_if_there_is_one(self)
        return [
            {**address, "Association": own} if own and address.get("PrivateIpAddress") == self.private_ip_address else address
            for address in self.private_ip_addresses
        ]

    NetworkInterface.association = property(association_if_there_is_one)
    NetworkInterface.network_interface_private_ip_address_list = property(addresses)


def install() -> None:
    """Wraps the creation of interfaces and of what has some, and how they are described."""
    _install_creation()
    _install_owners()
    _install_associations()
