//! Addresses and networks that no agent blocks.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

/// Most entries of [`super::Policy::protected_addresses`]. Each address that is to be blocked is held against all of
/// them; a site that needs more protects networks.
pub const MAX_PROTECTED_ADDRESSES: usize = 4096;

/// Most characters of an entry that a refusal repeats.
const SHOWN: usize = 80;

/// An entry of [`super::Policy::protected_addresses`]. It is read from one text and written as the same one, but for the
/// case and the zeros of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AddressOrNetwork {
    /// One address.
    Address(IpAddr),
    /// Every address of a network; never a network of v4-mapped addresses, which has a name in IPv4.
    Network(IpNet),
}

/// Text that is no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    /// Neither form.
    #[error(
        "{0:?} is neither an address nor a network in CIDR notation: write for example 192.0.2.80, 10.20.0.0/16 or 2001:db8:20::/48"
    )]
    Unreadable(String),
    /// An address of a network, and not the network's own.
    #[error(
        "{entry:?} has bits set beyond its prefix: write {network} for the network, or {address} for the one address"
    )]
    HostBits {
        /// As it was written.
        entry: String,
        /// The network that the address is in.
        network: IpNet,
        /// The address before the prefix.
        address: IpAddr,
    },
    /// A prefix of 0.
    #[error(
        "{0:?} protects every address of its family: write a longer prefix or, where nobody is to be blocked, leave block_remote, block_isolated and the verbs block_remote and block_host out of the policy"
    )]
    Everything(String),
    /// IPv4 written as IPv6. It travels as IPv4.
    #[error("{entry:?} is a network of IPv4 addresses written as IPv6: write {instead}")]
    Mapped {
        /// As it was written.
        entry: String,
        /// The same in IPv4, or what to write when it is none.
        instead: String,
    },
}

impl AddressOrNetwork {
    /// Whether it has this address. A v4-mapped address is the IPv4 address that it travels as, and in no IPv6 network.
    pub fn covers(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match self {
            Self::Address(one) => one.to_canonical() == address,
            Self::Network(network) => network.contains(&address),
        }
    }
}

impl fmt::Display for AddressOrNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Network(network) => network.fmt(f),
        }
    }
}

impl FromStr for AddressOrNetwork {
    type Err = BadEntry;

    fn from_str(text: &str) -> Result<Self, BadEntry> {
        let entry = || text.chars().take(SHOWN).collect::<String>();
        let unreadable = || BadEntry::Unreadable(entry());
        let Some((address, length)) = text.split_once('/') else {
            return text.parse().map(Self::Address).map_err(|_| unreadable());
        };
        let network = network(address, length).ok_or_else(unreadable)?;
        if network.prefix_len() == 0 {
            return Err(BadEntry::Everything(entry()));
        }
        if let Some(instead) = in_ipv4(network) {
            return Err(BadEntry::Mapped {
                entry: entry(),
                instead,
            });
        }
        if network.trunc() != network {
            return Err(BadEntry::HostBits {
                entry: entry(),
                network: network.trunc(),
                address: network.addr(),
            });
        }
        Ok(Self::Network(network))
    }
}

impl TryFrom<String> for AddressOrNetwork {
    type Error = BadEntry;

    fn try_from(text: String) -> Result<Self, BadEntry> {
        text.parse()
    }
}

impl From<AddressOrNetwork> for String {
    fn from(entry: AddressOrNetwork) -> Self {
        entry.to_string()
    }
}

pub(super) fn check(entries: &[AddressOrNetwork]) -> Result<(), String> {
    let count = entries.len();
    if count > MAX_PROTECTED_ADDRESSES {
        return Err(format!(
            "protected_addresses: {count} entries are more than {MAX_PROTECTED_ADDRESSES}: write networks in place of their addresses"
        ));
    }
    Ok(())
}

/// Not by the network's own parser: that one takes leading zeros, which some read as octal.
fn network(address: &str, length: &str) -> Option<IpNet> {
    let address = address.parse().ok()?;
    let is_number = length.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = length == "0" || !length.starts_with('0');
    let length = (is_number && is_plain).then(|| length.parse().ok())??;
    IpNet::new(address, length).ok()
}

/// What to write in place of a network of v4-mapped addresses.
fn in_ipv4(network: IpNet) -> Option<String> {
    let IpNet::V6(network) = network else {
        return None;
    };
    let address = network.addr().to_ipv4_mapped()?;
    let length = network.prefix_len().checked_sub(96);
    let instead = length.filter(|length| *length > 0);
    let instead = instead.and_then(|length| Ipv4Net::new(address, length).ok());
    Some(match instead {
        Some(network) => network.trunc().to_string(),
        None => "a network of IPv4, for example 10.20.0.0/16".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn read(text: &str) -> AddressOrNetwork {
        text.parse().unwrap()
    }

    fn refusal(text: &str) -> String {
        let refused = text.parse::<AddressOrNetwork>().unwrap_err();
        refused.to_string()
    }

    #[test]
    fn an_entry_is_written_as_it_was_read() {
        for text in [
            "192.0.2.80",
            "2001:db8::5",
            "::ffff:192.0.2.23",
            "0.0.0.0",
            "::",
            "10.0.0.0/8",
            "128.0.0.0/1",
            "192.0.2.80/32",
            "2001:db8:20::/48",
            "8000::/1",
            "2001:db8::5/128",
        ] {
            assert_eq!(read(text).to_string(), text);
            let json = serde_json::to_string(&read(text)).unwrap();
            assert_eq!(json, format!("{text:?}"));
            let again: AddressOrNetwork = serde_json::from_str(&json).unwrap();
            assert_eq!(again, read(text));
        }
        assert_eq!(read("2001:DB8:0020::/48").to_string(), "2001:db8:20::/48");
    }

    #[test]
    fn what_is_refused_is_named_with_what_to_write() {
        for (text, wanted) in [
            (
                "10.20.0.5/16",
                "write 10.20.0.0/16 for the network, or 10.20.0.5 for",
            ),
            ("192.0.2.81/31", "write 192.0.2.80/31 for"),
            (
                "2001:db8:20::1/48",
                "write 2001:db8:20::/48 for the network, or 2001:db8:20::1 for",
            ),
            ("::1/1", "write ::/1 for"),
            ("0.0.0.0/0", "every address"),
            ("10.0.0.0/0", "every address"),
            ("::/0", "every address"),
            ("::ffff:10.20.0.0/112", "write 10.20.0.0/16"),
            ("::ffff:10.20.0.5/112", "write 10.20.0.0/16"),
            ("::ffff:192.0.2.80/128", "write 192.0.2.80/32"),
            ("::ffff:0.0.0.0/96", "write a network of IPv4"),
            ("::ffff:10.0.0.0/64", "write a network of IPv4"),
            ("db.example", "192.0.2.80, 10.20.0.0/16"),
        ] {
            let said = refusal(text);
            assert!(said.contains(wanted), "{text}: {said}");
            assert!(said.starts_with(&format!("{text:?} ")), "{text}: {said}");
        }
        for text in [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/256",
            "10.0.0.0/-8",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/8/8",
            "10.0.0.0/ 8",
            " 10.0.0.0/8",
            "10.0.0.0/255.0.0.0",
            "10.0.0/8",
            "10/8",
            "010.0.0.0/8",
            "10.0.0.0-10.0.0.9",
            "2001:db8::/129",
            "2001:db8::/048",
            "fe80::1%eth0",
            "fe80::%eth0/64",
            "[2001:db8::]/48",
        ] {
            let said = refusal(text);
            assert!(said.contains("neither an address nor a network"), "{said}");
        }
        let long = refusal(&"9".repeat(10_000));
        assert!(long.len() < 300, "{long}");
        assert!(refusal("\u{1b}[2J").starts_with(r#""\u{1b}[2J""#));
    }

    #[test]
    fn v4_mapped_addresses_are_held_against_networks_of_ipv4_and_no_others() {
        for (entry, address, is_covered) in [
            ("10.20.0.0/16", "10.20.0.0", true),
            ("10.20.0.0/16", "10.20.255.255", true),
            ("10.20.0.0/16", "10.19.255.255", false),
            ("10.20.0.0/16", "10.21.0.0", false),
            ("10.20.0.0/16", "::ffff:10.20.1.2", true),
            ("10.20.0.0/16", "::ffff:a14:102", true),
            ("10.20.0.0/16", "::ffff:10.21.0.0", false),
            // Deprecated "compatible" addresses travel as IPv6.
            ("10.20.0.0/16", "::10.20.1.2", false),
            ("192.0.2.80/32", "192.0.2.80", true),
            ("192.0.2.80/32", "192.0.2.81", false),
            ("192.0.2.80", "::ffff:192.0.2.80", true),
            ("::ffff:192.0.2.80", "192.0.2.80", true),
            ("2001:db8:20::/48", "2001:db8:20::", true),
            (
                "2001:db8:20::/48",
                "2001:db8:20:ffff:ffff:ffff:ffff:ffff",
                true,
            ),
            ("2001:db8:20::/48", "2001:db8:21::", false),
            ("2001:db8:20::/48", "10.20.0.1", false),
            ("2001:db8::5/128", "2001:db8::5", true),
            ("2001:db8::5/128", "2001:db8::6", false),
            ("128.0.0.0/1", "255.255.255.255", true),
            ("128.0.0.0/1", "127.255.255.255", false),
            // As bits `::/1` has the v4-mapped ones too, and what travels is IPv4.
            ("::/1", "::ffff:10.20.1.2", false),
            ("::/1", "10.20.1.2", false),
            ("::/1", "2001:db8::1", true),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(read(entry).covers(address), is_covered, "{entry} {address}");
        }
    }

    proptest! {
        #[test]
        fn a_network_has_exactly_the_addresses_with_its_prefix(a in any::<u32>(), b in any::<u32>(), near in 0u32..32, length in 1u32..=32) {
            let mask = u32::MAX << (32 - length);
            let entry = read(&format!("{}/{length}", Ipv4Addr::from(a & mask)));
            for other in [a, b, a ^ (1 << near)] {
                let other_ip = Ipv4Addr::from(other);
                let is_in = other & mask == a & mask;
                prop_assert_eq!(entry.covers(other_ip.into()), is_in);
                prop_assert_eq!(entry.covers(other_ip.to_ipv6_mapped().into()), is_in);
            }
        }

        #[test]
        fn the_same_in_ipv6(a in any::<u128>(), near in 0u32..128, length in 1u32..=128) {
            // Out of the v4-mapped ones, which are refused.
            let a = a | 1 << 127;
            let mask = u128::MAX << (128 - length);
            let entry = read(&format!("{}/{length}", Ipv6Addr::from(a & mask)));
            let other = a ^ (1 << near);
            prop_assert!(entry.covers(Ipv6Addr::from(a).into()));
            prop_assert_eq!(entry.covers(Ipv6Addr::from(other).into()), other & mask == a & mask);
        }

        #[test]
        fn whatever_is_read_is_written_so_that_it_reads_the_same(text in "[0-9a-f:./]{0,24}") {
            if let Ok(entry) = text.parse::<AddressOrNetwork>() {
                prop_assert_eq!(read(&entry.to_string()), entry);
            }
        }
    }
}
