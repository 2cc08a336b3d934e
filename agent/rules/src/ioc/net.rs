//! An address or a network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The first bits of an address; all of them for a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Net {
    address: IpAddr,
    length: u8,
}

/// The shortest prefix of an indicator: anything wider is a part of the Internet, not somebody in it.
const SHORTEST_V4: u8 = 8;
const SHORTEST_V6: u8 = 19;

/// Networks that every host has a part in, with what they are. A wider prefix would match them by carelessness.
const OWN: &[(IpAddr, u8, &str)] = &[
    (
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        8,
        "addresses of this network",
    ),
    (
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)),
        8,
        "private addresses",
    ),
    (
        IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)),
        10,
        "shared addresses",
    ),
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8, "loopback"),
    (
        IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)),
        16,
        "link-local addresses",
    ),
    (
        IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)),
        12,
        "private addresses",
    ),
    (
        IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)),
        16,
        "private addresses",
    ),
    (IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0)), 4, "multicast"),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128, "loopback"),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 128, "no address"),
    (
        IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)),
        7,
        "private addresses",
    ),
    (
        IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)),
        10,
        "link-local addresses",
    ),
    (
        IpAddr::V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0)),
        8,
        "multicast",
    ),
];

impl Net {
    /// The first `length` bits of `address`.
    pub(crate) fn of(address: IpAddr, length: u8) -> Self {
        let address = match address {
            IpAddr::V4(address) => {
                let kept = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                Ipv4Addr::from_bits(address.to_bits() & kept).into()
            }
            IpAddr::V6(address) => {
                let kept = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & kept).into()
            }
        };
        Self { address, length }
    }

    /// Reads `ADDRESS` or `ADDRESS/LENGTH`, however wide.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| "no IP address")?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => most,
            Some(length) => {
                let is_number = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
                let length = length.parse().ok().filter(|_| is_number);
                length
                    .filter(|length| *length <= most)
                    .ok_or("no such length of a prefix")?
            }
        };
        Ok(Self::of(address, length).canonical())
    }

    /// Reads an indicator: neither too wide nor this host itself.
    pub(crate) fn indicator(text: &str) -> Result<Self, String> {
        let net = Self::parse(text).map_err(str::to_owned)?;
        let shortest = if net.is_v4() {
            SHORTEST_V4
        } else {
            SHORTEST_V6
        };
        if net.length < shortest {
            return Err(format!(
                "{net} is too wide for an indicator: wanted a prefix of at least {shortest} bits"
            ));
        }
        for (address, length, what) in OWN {
            let own = Self::of(*address, *length);
            if own.length > net.length && net.contains(own.address) {
                return Err(format!(
                    "{net} is too wide for an indicator: {own} ({what}) is in it"
                ));
            }
            let is_never = matches!(*what, "loopback" | "no address" | "multicast");
            if is_never && own.contains(net.address) {
                return Err(format!("{net} is {what}: it says nothing about anybody"));
            }
        }
        if net.address.is_unspecified() {
            return Err(format!("{net} is no address of anybody"));
        }
        Ok(net)
    }

    /// Whether `address` is in it. An IPv4 address in IPv6 clothes is one of IPv4.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.is_v4() && Self::of(address, self.length) == self
    }

    pub(crate) fn is_v4(self) -> bool {
        self.address.is_ipv4()
    }

    pub(crate) fn length(self) -> u8 {
        self.length
    }

    fn canonical(self) -> Self {
        match (self.address.to_canonical(), self.length) {
            (IpAddr::V4(address), length @ 96..) if !self.is_v4() => {
                Self::of(address.into(), length - 96)
            }
            _ => self,
        }
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = if self.is_v4() { 32 } else { 128 };
        if self.length == all {
            return self.address.fmt(f);
        }
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_careless_is_refused_and_says_why() {
        for (text, wanted) in [
            ("0.0.0.0/0", "at least 8"),
            ("::/0", "at least 19"),
            ("0.0.0.0", "no address of anybody"),
            ("172.0.0.0/8", "172.16.0.0/12 (private"),
            ("192.0.0.0/8", "192.168.0.0/16"),
            ("127.0.0.1", "loopback"),
            ("127.0.0.0/8", "loopback"),
            ("::1", "loopback"),
            ("224.0.0.251", "multicast"),
            ("ff02::1", "multicast"),
            ("203.0.113.9/33", "length"),
            ("203.0.113.9/+1", "length"),
            ("203.0.113", "no IP"),
        ] {
            let why = Net::indicator(text).unwrap_err();
            assert!(why.contains(wanted), "{text}: {why}");
        }
    }

    #[test]
    fn what_is_named_is_taken_private_too() {
        for text in [
            "203.0.113.9",
            "10.9.8.0/24",
            "8.0.0.0/8",
            "2001:db8::/32",
            "fd00::1",
        ] {
            assert_eq!(Net::indicator(text).unwrap().to_string(), text);
        }
        let mapped = Net::indicator("::ffff:203.0.113.9").unwrap();
        assert_eq!(mapped.to_string(), "203.0.113.9");
        assert!(mapped.contains("::ffff:203.0.113.9".parse().unwrap()));
        let net = Net::parse("203.0.113.77/24").unwrap();
        assert_eq!(net.to_string(), "203.0.113.0/24");
        assert!(net.contains("203.0.113.255".parse().unwrap()));
        assert!(!net.contains("203.0.114.0".parse().unwrap()));
        assert!(
            Net::parse("0.0.0.0/0")
                .unwrap()
                .contains("9.9.9.9".parse().unwrap())
        );
        assert!(
            !Net::parse("0.0.0.0/0")
                .unwrap()
                .contains("::2".parse().unwrap())
        );
    }
}
