//! Ranges of addresses.

use std::fmt;
use std::net::IpAddr;

/// A range of addresses, as in `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads one. A single address is a network of its own.
    ///
    /// # Errors
    /// It is none; the text says what was meant.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, bits) = text
            .split_once('/')
            .map_or((text, None), |(address, bits)| (address, Some(bits)));
        let given: IpAddr = address
            .parse()
            .map_err(|_| "not a network like \"10.0.0.0/8\" or \"2001:db8::/32\"".to_owned())?;
        let most = if given.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= most)
                .ok_or_else(|| format!("the number behind `/` is not one from 0 to {most}"))?,
        };
        let network = Self {
            first: masked(given, bits),
            bits,
        };
        if network.first == given {
            Ok(network)
        } else {
            Err(format!(
                "has bits behind its first {bits}: did you mean \"{network}\", or \"{given}/{most}\"?"
            ))
        }
    }

    /// Whether an address is in it. IPv4 addresses that are written as IPv6 (`::ffff:10.0.0.1`) count as what they are.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = if self.first.is_ipv4() {
            address.to_canonical()
        } else {
            address
        };
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.bits) == self.first
    }
}

/// An address without all but its first bits.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)).into()),
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        let contains = |network: &str, address: &str| {
            Network::parse(network).map(|network| network.contains(address.parse().expect("an address")))
        };
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.2", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "::1", true),
        ] {
            assert_eq!(contains(network, address), Ok(expected), "{network} {address}");
        }
    }

    #[test]
    fn what_is_no_network_says_what_was_meant() {
        for (text, part) in [
            ("", "10.0.0.0/8"),
            ("10.0.0.0/33", "0 to 32"),
            ("10.0.0.0/-1", "0 to 32"),
            ("::/129", "0 to 128"),
            ("10.1.2.3/8", "\"10.0.0.0/8\", or \"10.1.2.3/32\""),
            ("075.050.255.67", "not a network"),
        ] {
            let said = Network::parse(text).expect_err(text);
            assert!(said.contains(part), "{text}: {said}");
        }
    }
}
