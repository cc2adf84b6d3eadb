//! What the network around an interface means for cutting it off: pure functions on what EC2 describes of a VPC.
//!
//! Sources: Amazon EC2 User Guide, "Security group connection tracking" ("Automatically tracked connections"); Amazon VPC User Guide,
//! "Network ACLs" and "Route tables"; Amazon VPC Transit Gateways, "Network ACLs for transit gateways".

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use crate::aws::Failure;
use crate::cidr::Cidr;
use crate::steps::network_acl::Acl;

/// What AWS always tracks: connections through it outlive a change of security groups for as long as they are active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Passage {
    /// A NAT gateway.
    NatGateway,
    /// An egress-only internet gateway (IPv6).
    EgressOnlyGateway,
    /// A transit gateway, or the core network of Cloud WAN.
    TransitGateway,
    /// A gateway endpoint of DynamoDB.
    GatewayEndpoint,
    /// A Network Load Balancer.
    NetworkLoadBalancer,
    /// An interface endpoint (PrivateLink).
    PrivateLink,
    /// Network Firewall, or another appliance behind a Gateway Load Balancer endpoint.
    Firewall,
    /// Global Accelerator.
    GlobalAccelerator,
    /// The interface of Lambda functions in the VPC.
    Lambda,
}

impl fmt::Display for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NatGateway => "a NAT gateway",
            Self::EgressOnlyGateway => "an egress-only internet gateway",
            Self::TransitGateway => "a transit gateway",
            Self::GatewayEndpoint => "a gateway endpoint of DynamoDB",
            Self::NetworkLoadBalancer => "a network load balancer",
            Self::PrivateLink => "an interface endpoint (PrivateLink)",
            Self::Firewall => "a firewall endpoint",
            Self::GlobalAccelerator => "Global Accelerator",
            Self::Lambda => "the interface of Lambda functions",
        })
    }
}

/// Where a route leads, as far as that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// Within the VPC.
    Local,
    /// A NAT gateway, by its id.
    Nat(String),
    /// An egress-only internet gateway.
    EgressOnly,
    /// A transit gateway or a core network.
    Transit,
    /// A VPC endpoint, by its id: a gateway endpoint, or a Gateway Load Balancer endpoint.
    Endpoint(String),
    /// An internet gateway.
    Internet,
    /// Anything else out of the subnet: peering, VPN, another interface.
    Other,
}

/// One active route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// To which addresses; nothing for a prefix list.
    pub to: Option<Cidr>,
    /// Where it leads.
    pub via: Via,
}

/// One route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTable {
    /// Whether it serves the subnets that have none of their own.
    pub main: bool,
    /// The subnets that it serves by name.
    pub subnets: Vec<String>,
    /// Whether it serves a gateway: what comes into the VPC there.
    pub edge: bool,
    /// Its active routes.
    pub routes: Vec<Route>,
}

/// An interface of AWS's in the VPC, through which connections are always tracked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Middle {
    /// Its id.
    pub interface: String,
    /// Its subnet.
    pub subnet: String,
    /// What it belongs to.
    pub passage: Passage,
    /// Its description, in which AWS names the NAT gateway or endpoint.
    pub description: String,
}

/// What is known of one VPC.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// Its route tables.
    pub tables: Vec<RouteTable>,
    /// Its network ACLs.
    pub acls: Vec<Acl>,
    /// The interfaces of AWS's through which connections are always tracked.
    pub middles: Vec<Middle>,
    /// The services of its gateway endpoints, by endpoint.
    pub gateway_endpoints: BTreeMap<String, String>,
    /// The ranges of its subnets, where they were asked for.
    pub subnets: BTreeMap<String, Vec<Cidr>>,
    /// What could not be read of it, and why.
    pub unread: Vec<(&'static str, Failure)>,
}

/// One way on which an interface's connections can be always tracked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// Through what.
    pub passage: Passage,
    /// In which subnet that has an interface; nothing where it has none in any.
    pub subnet: Option<String>,
}

/// Where an interface is in its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its subnet.
    pub subnet: String,
    /// Its private addresses, those of its prefixes included.
    pub addresses: Vec<Cidr>,
    /// Whether it has an address that the internet can reach.
    pub public: bool,
}

impl Place {
    fn has_v6(&self) -> bool {
        self.addresses.iter().any(Cidr::is_v6)
    }
}

impl Network {
    /// The routes that an interface's packets follow.
    fn routes_of(&self, subnet: &str) -> impl Iterator<Item = &Route> {
        let own = self
            .tables
            .iter()
            .find(|table| table.subnets.iter().any(|id| id == subnet));
        let table = own.or_else(|| self.tables.iter().find(|table| table.main));
        table.into_iter().flat_map(|table| &table.routes)
    }

    /// The subnets with an interface of this kind whose description holds this; one without a subnet, where there is none.
    fn through(&self, passage: Passage, named: &str) -> Vec<Way> {
        let there = |middle: &&Middle| middle.passage == passage && middle.description.contains(named);
        let ways: Vec<Way> = self
            .middles
            .iter()
            .filter(there)
            .map(|middle| Way {
                passage,
                subnet: Some(middle.subnet.clone()),
            })
            .collect();
        if ways.is_empty() {
            vec![Way { passage, subnet: None }]
        } else {
            ways
        }
    }

    fn endpoint(&self, id: &str) -> Vec<Way> {
        match self.gateway_endpoints.get(id) {
            // Of the two services with gateway endpoints only connections to DynamoDB are always tracked.
            Some(service) if service.ends_with(".dynamodb") => vec![Way {
                passage: Passage::GatewayEndpoint,
                subnet: None,
            }],
            Some(_) => vec![],
            None => self.through(Passage::Firewall, id),
        }
    }

    /// All ways on which connections of an interface can be always tracked, sorted.
    pub fn ways(&self, place: &Place) -> Vec<Way> {
        let mut ways: Vec<Way> = self
            .routes_of(&place.subnet)
            .flat_map(|route| match &route.via {
                Via::Nat(id) => self.through(Passage::NatGateway, id),
                Via::EgressOnly if place.has_v6() => vec![Way {
                    passage: Passage::EgressOnlyGateway,
                    subnet: None,
                }],
                Via::Transit => self.through(Passage::TransitGateway, ""),
                Via::Endpoint(id) => self.endpoint(id),
                Via::EgressOnly | Via::Local | Via::Internet | Via::Other => vec![],
            })
            .collect();
        // What comes in through a gateway may be led through a firewall first.
        for route in self
            .tables
            .iter()
            .filter(|table| table.edge)
            .flat_map(|table| &table.routes)
        {
            let leads_here = |to: &Cidr| place.addresses.iter().any(|address| to.overlaps(address));
            if let (Via::Endpoint(id), true) = (&route.via, route.to.as_ref().is_some_and(leads_here)) {
                ways.extend(self.endpoint(id));
            }
        }
        // These need no route: whoever knows their address, or is their target, can have a connection through them.
        let without_route = [
            Passage::NetworkLoadBalancer,
            Passage::PrivateLink,
            Passage::GlobalAccelerator,
            Passage::Lambda,
        ];
        ways.extend(
            self.middles
                .iter()
                .filter(|middle| without_route.contains(&middle.passage))
                .map(|middle| Way {
                    passage: middle.passage,
                    subnet: Some(middle.subnet.clone()),
                }),
        );
        ways.sort_unstable();
        ways.dedup();
        ways
    }

    /// Whether an interface can be reached from beyond its VPC: by a public address, or by a route that leads out.
    pub fn leads_out(&self, place: &Place) -> bool {
        place.public
            || self
                .routes_of(&place.subnet)
                .any(|route| route.via != Via::Local && !self.is_gateway_endpoint(&route.via))
    }

    /// Whether an interface is reached by way of an internet gateway.
    pub fn by_internet(&self, place: &Place) -> bool {
        let has_way = |route: &Route| {
            let family = route.to.as_ref().is_none_or(|to| to.is_v6());
            route.via == Via::Internet && (place.public || (family && place.has_v6()))
        };
        self.routes_of(&place.subnet).any(has_way)
    }

    /// Whether an interface is reached from other networks without another subnet of its VPC in between.
    pub fn by_others(&self, place: &Place) -> bool {
        self.routes_of(&place.subnet).any(|route| route.via == Via::Other)
    }

    fn is_gateway_endpoint(&self, via: &Via) -> bool {
        matches!(via, Via::Endpoint(id) if self.gateway_endpoints.contains_key(id))
    }

    /// The ACL that serves a subnet.
    pub fn acl_of(&self, subnet: &str) -> Option<&Acl> {
        self.acls.iter().find(|acl| acl.subnets.iter().any(|id| id == subnet))
    }

    /// The ACLs in use that an interface's addresses are to be denied in: all of them, since each is at the edge of a subnet through
    /// which its packets could go, but those that stand between it and the forensic team.
    pub fn acls_to_cut<'a>(&'a self, place: &'a Place, team: &'a [Cidr]) -> impl Iterator<Item = &'a Acl> {
        let used = self.acls.iter().filter(|acl| !acl.subnets.is_empty());
        used.filter(|acl| !team.iter().any(|from| self.stands_between(acl, place, from)))
    }

    /// Whether packets between an interface and an address cross a subnet that an ACL serves, other than the interface's own.
    fn stands_between(&self, acl: &Acl, place: &Place, from: &Cidr) -> bool {
        let beyond = |subnet: &&String| **subnet != place.subnet;
        let ranges_meet = |subnet: &String| {
            let ranges = self.subnets.get(subnet).into_iter().flatten();
            ranges.into_iter().any(|range| range.overlaps(from))
        };
        if acl.subnets.iter().filter(beyond).any(ranges_meet) {
            return true;
        }
        let matching = self
            .routes_of(&place.subnet)
            .filter_map(|route| route.to.map(|to| (to, &route.via)));
        let best = matching
            .filter(|(to, _)| to.contains(from))
            .max_by_key(|(to, _)| to.prefix());
        let transit = matches!(best, Some((_, Via::Transit)));
        transit
            && self
                .middles
                .iter()
                .any(|middle| middle.passage == Passage::TransitGateway && acl.subnets.contains(&middle.subnet))
    }

    /// Of these ways, those that are open although these ACLs deny the interface's addresses: what has no interface in a subnet is
    /// behind no subnet's edge, and nothing is filtered within the interface's own subnet (but what goes to a transit gateway).
    pub fn open_after_cut<'a>(
        &'a self,
        ways: &'a [Way],
        place: &'a Place,
        cut: &'a [&'a Acl],
    ) -> impl Iterator<Item = &'a Way> {
        ways.iter().filter(move |way| match &way.subnet {
            None => true,
            Some(subnet) if *subnet == place.subnet && way.passage != Passage::TransitGateway => true,
            Some(subnet) => !cut.iter().any(|acl| acl.subnets.contains(subnet)),
        })
    }
}

/// A private address as a range of its own; nothing for a text that is none.
pub fn single(address: &str) -> Option<Cidr> {
    address.parse::<IpAddr>().ok().map(Cidr::of)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn cidr(text: &str) -> Cidr {
        text.parse().expect("a range")
    }

    pub(crate) fn place(addresses: &[&str]) -> Place {
        Place {
            subnet: "subnet-own".into(),
            addresses: addresses.iter().map(|text| cidr(text)).collect(),
            public: false,
        }
    }

    pub(crate) fn table(routes: &[(&str, Via)]) -> RouteTable {
        RouteTable {
            main: true,
            subnets: vec![],
            edge: false,
            routes: routes
                .iter()
                .map(|(to, via)| Route {
                    to: to.parse().ok(),
                    via: via.clone(),
                })
                .collect(),
        }
    }

    pub(crate) fn middle(passage: Passage, subnet: &str, description: &str) -> Middle {
        Middle {
            interface: "eni-aws".into(),
            subnet: subnet.into(),
            passage,
            description: description.into(),
        }
    }

    pub(crate) fn acl(id: &str, subnets: &[&str]) -> Acl {
        Acl {
            id: id.into(),
            subnets: subnets.iter().map(|id| (*id).to_owned()).collect(),
            entries: vec![],
        }
    }

    /// A private subnet behind a NAT gateway in a public one, each with an ACL of its own.
    pub(crate) fn behind_nat() -> Network {
        Network {
            tables: vec![table(&[
                ("10.0.0.0/16", Via::Local),
                ("0.0.0.0/0", Via::Nat("nat-1".into())),
            ])],
            acls: vec![
                acl("acl-own", &["subnet-own"]),
                acl("acl-public", &["subnet-public"]),
                acl("acl-unused", &[]),
            ],
            middles: vec![middle(
                Passage::NatGateway,
                "subnet-public",
                "Interface for NAT Gateway nat-1",
            )],
            ..Network::default()
        }
    }

    fn passages(network: &Network, place: &Place) -> Vec<(Passage, Option<String>)> {
        let ways = network.ways(place).into_iter();
        ways.map(|way| (way.passage, way.subnet)).collect()
    }

    #[test]
    fn each_route_that_is_always_tracked_is_found() {
        let v4 = place(&["10.0.0.5/32"]);
        let dual = place(&["10.0.0.5/32", "2001:db8::5/128"]);
        let with = |via: Via| Network {
            tables: vec![table(&[("10.0.0.0/16", Via::Local), ("0.0.0.0/0", via)])],
            gateway_endpoints: [
                ("vpce-s3", "com.amazonaws.us-east-1.s3"),
                ("vpce-db", "com.amazonaws.us-east-1.dynamodb"),
            ]
            .map(|(id, service)| (id.to_owned(), service.to_owned()))
            .into(),
            ..Network::default()
        };
        for (via, place, expected) in [
            (Via::Local, &dual, None),
            (Via::Internet, &dual, None),
            (Via::Other, &dual, None),
            (Via::Nat("nat-1".into()), &v4, Some(Passage::NatGateway)),
            (Via::EgressOnly, &dual, Some(Passage::EgressOnlyGateway)),
            (Via::EgressOnly, &v4, None),
            (Via::Transit, &v4, Some(Passage::TransitGateway)),
            (Via::Endpoint("vpce-s3".into()), &v4, None),
            (Via::Endpoint("vpce-db".into()), &v4, Some(Passage::GatewayEndpoint)),
            (Via::Endpoint("vpce-firewall".into()), &v4, Some(Passage::Firewall)),
        ] {
            let found = with(via.clone()).ways(place);
            assert_eq!(found.first().map(|way| way.passage), expected, "{via:?}");
        }
    }

    #[test]
    fn a_subnet_without_a_table_of_its_own_follows_the_main_one() {
        let mut network = behind_nat();
        assert_eq!(network.ways(&place(&["10.0.0.5/32"])).len(), 1);
        network.tables.push(RouteTable {
            main: false,
            subnets: vec!["subnet-own".into()],
            ..table(&[("10.0.0.0/16", Via::Local)])
        });
        assert_eq!(network.ways(&place(&["10.0.0.5/32"])), []);
    }

    #[test]
    fn what_needs_no_route_is_a_way_from_wherever_it_is() {
        let mut network = Network::default();
        for passage in [Passage::NetworkLoadBalancer, Passage::PrivateLink, Passage::Lambda] {
            network.middles.push(middle(passage, "subnet-other", ""));
        }
        network.middles.push(middle(Passage::NatGateway, "subnet-other", ""));
        let found = passages(&network, &place(&["10.0.0.5/32"]));
        let subnet = Some("subnet-other".to_owned());
        assert_eq!(
            found,
            [
                (Passage::NetworkLoadBalancer, subnet.clone()),
                (Passage::PrivateLink, subnet.clone()),
                (Passage::Lambda, subnet)
            ]
        );
    }

    #[test]
    fn a_firewall_before_what_comes_in_is_found_at_the_gateways_table() {
        let mut network = Network {
            tables: vec![table(&[("0.0.0.0/0", Via::Internet)])],
            middles: vec![middle(Passage::Firewall, "subnet-fw", "VPC Endpoint Interface vpce-fw")],
            ..Network::default()
        };
        let edge = |to: &str| RouteTable {
            main: false,
            edge: true,
            ..table(&[(to, Via::Endpoint("vpce-fw".into()))])
        };
        network.tables.push(edge("10.9.0.0/24"));
        assert_eq!(network.ways(&place(&["10.0.0.5/32"])), []);
        network.tables.push(edge("10.0.0.0/24"));
        let found = passages(&network, &place(&["10.0.0.5/32"]));
        assert_eq!(found, [(Passage::Firewall, Some("subnet-fw".to_owned()))]);
    }

    #[test]
    fn the_edge_of_another_subnet_cuts_and_the_own_one_does_not() {
        let network = behind_nat();
        let place = place(&["10.0.0.5/32"]);
        let ways = network.ways(&place);
        let cut: Vec<&Acl> = network.acls_to_cut(&place, &[]).collect();
        assert_eq!(
            cut.iter().map(|acl| acl.id.as_str()).collect::<Vec<_>>(),
            ["acl-own", "acl-public"]
        );
        assert_eq!(network.open_after_cut(&ways, &place, &cut).count(), 0);

        let mut same = behind_nat();
        same.middles = vec![middle(Passage::NatGateway, "subnet-own", "nat-1")];
        let ways = same.ways(&place);
        let cut: Vec<&Acl> = same.acls_to_cut(&place, &[]).collect();
        assert_eq!(same.open_after_cut(&ways, &place, &cut).count(), 1);

        let mut regional = behind_nat();
        regional.middles.clear();
        let ways = regional.ways(&place);
        let cut: Vec<&Acl> = regional.acls_to_cut(&place, &[]).collect();
        assert_eq!(
            regional.open_after_cut(&ways, &place, &cut).count(),
            1,
            "a NAT gateway without a subnet"
        );
    }

    #[test]
    fn a_transit_gateway_is_cut_off_in_its_own_subnet_too() {
        for subnet in ["subnet-own", "subnet-transit"] {
            let network = Network {
                tables: vec![table(&[("0.0.0.0/0", Via::Transit)])],
                acls: vec![acl("acl-1", &["subnet-own", "subnet-transit"])],
                middles: vec![middle(Passage::TransitGateway, subnet, "")],
                ..Network::default()
            };
            let place = place(&["10.0.0.5/32"]);
            let (ways, cut): (Vec<Way>, Vec<&Acl>) = (network.ways(&place), network.acls_to_cut(&place, &[]).collect());
            assert_eq!(ways.len(), 1);
            assert_eq!(network.open_after_cut(&ways, &place, &cut).count(), 0, "{subnet}");
        }
    }

    #[test]
    fn the_acl_between_the_interface_and_the_team_is_spared() {
        let mut network = behind_nat();
        network.acls.push(acl("acl-team", &["subnet-team"]));
        network.subnets = [
            ("subnet-own", "10.0.0.0/24"),
            ("subnet-public", "10.0.1.0/24"),
            ("subnet-team", "10.0.2.0/24"),
        ]
        .map(|(id, range)| (id.to_owned(), vec![cidr(range)]))
        .into();
        let place = place(&["10.0.0.5/32"]);
        let cut = |team: &[&str]| {
            let team: Vec<Cidr> = team.iter().map(|text| cidr(text)).collect();
            let acls: Vec<String> = network.acls_to_cut(&place, &team).map(|acl| acl.id.clone()).collect();
            acls.join(" ")
        };
        assert_eq!(cut(&[]), "acl-own acl-public acl-team");
        assert_eq!(cut(&["10.0.2.7/32"]), "acl-own acl-public");
        assert_eq!(
            cut(&["10.0.0.9/32"]),
            "acl-own acl-public acl-team",
            "within its own subnet nothing stands between"
        );
        assert_eq!(
            cut(&["192.0.2.0/24"]),
            "acl-own acl-public acl-team",
            "by way of the NAT gateway nobody comes in"
        );
    }

    #[test]
    fn a_team_that_comes_through_a_transit_gateway_finds_its_subnet_open() {
        let network = Network {
            tables: vec![table(&[
                ("0.0.0.0/0", Via::Nat("nat-1".into())),
                ("192.0.2.0/24", Via::Transit),
            ])],
            acls: vec![acl("acl-own", &["subnet-own"]), acl("acl-transit", &["subnet-transit"])],
            middles: vec![middle(Passage::TransitGateway, "subnet-transit", "")],
            ..Network::default()
        };
        let place = place(&["10.0.0.5/32"]);
        let count = |team: &str| network.acls_to_cut(&place, &[cidr(team)]).count();
        assert_eq!(count("192.0.2.7/32"), 1);
        assert_eq!(count("198.51.100.0/24"), 2);
    }

    #[test]
    fn an_interface_is_reachable_from_beyond_by_an_address_or_a_route() {
        let private = place(&["10.0.0.5/32"]);
        let public = Place {
            public: true,
            ..private.clone()
        };
        let closed = Network {
            tables: vec![table(&[("10.0.0.0/16", Via::Local)])],
            ..Network::default()
        };
        assert!(!closed.leads_out(&private) && closed.leads_out(&public) && behind_nat().leads_out(&private));
    }
}
