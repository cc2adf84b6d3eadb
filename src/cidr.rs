//! Ranges of IP addresses, as network ACLs and route tables write them: `10.0.0.5/32`, `2600:1f14::5/128`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::arn::serde_as_text;

/// A range of addresses in its canonical form, without host bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr(IpNet);

/// A text that is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a range of addresses like 10.0.0.0/24 or 2001:db8::/64")]
pub struct NotACidr;

impl Cidr {
    /// One address alone: /32 or /128.
    pub fn of(address: IpAddr) -> Self {
        Self(IpNet::from(address))
    }

    /// Whether it is one of IPv6.
    pub fn is_v6(&self) -> bool {
        matches!(self.0, IpNet::V6(_))
    }

    /// Whether it is all of IPv4, or all of IPv6.
    pub fn is_everything(&self) -> bool {
        self.0.prefix_len() == 0
    }

    /// Whether every address of `other` is in it.
    pub fn contains(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }

    /// Whether they share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other) || other.contains(self)
    }

    /// How many leading bits it fixes: of two routes that match, the one with more wins.
    pub fn prefix(&self) -> u8 {
        self.0.prefix_len()
    }
}

impl FromStr for Cidr {
    type Err = NotACidr;

    /// Host bits are cut off, as EC2 does.
    fn from_str(text: &str) -> Result<Self, NotACidr> {
        let net: IpNet = text.trim().parse().map_err(|_| NotACidr)?;
        Ok(Self(net.trunc()))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

serde_as_text!(Cidr);

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().expect("a range")
    }

    #[test]
    fn a_range_is_written_in_its_canonical_form() {
        for (text, canonical) in [
            ("10.0.0.5/32", "10.0.0.5/32"),
            ("10.0.0.5/24", "10.0.0.0/24"),
            ("2600:1F14:0:0::5/128", "2600:1f14::5/128"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(cidr(text).to_string(), canonical);
        }
        for text in ["", "10.0.0.5", "10.0.0.5/33", "10.0.0/24", "pl-1", "::/129"] {
            assert_eq!(text.parse::<Cidr>(), Err(NotACidr), "{text}");
        }
    }

    #[test]
    fn families_never_meet() {
        assert!(cidr("0.0.0.0/0").contains(&cidr("10.0.0.5/32")));
        assert!(cidr("10.0.0.5/32").overlaps(&cidr("10.0.0.0/8")));
        assert!(!cidr("0.0.0.0/0").overlaps(&cidr("2600::/16")));
        assert!(!cidr("10.0.0.0/24").overlaps(&cidr("10.0.1.0/24")));
    }
}
