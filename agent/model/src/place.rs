//! Where something is: addresses, ports and paths as classes, so that no single value can become the answer.

use std::net::IpAddr;

/// The class of an address.
pub fn address(address: IpAddr) -> &'static str {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            if v4.is_loopback() {
                "@loopback"
            } else if v4.is_unspecified() {
                "@any"
            } else if [a, b] == [169, 254] && v4.octets()[2..] == [169, 254] {
                "@metadata"
            } else if v4.is_link_local() {
                "@linklocal"
            } else if v4.is_private() || (a == 100 && (64..128).contains(&b)) {
                "@private"
            } else if v4.is_multicast() || v4.is_broadcast() {
                "@multicast"
            } else {
                "@public"
            }
        }
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            if v6.is_loopback() {
                "@loopback"
            } else if v6.is_unspecified() {
                "@any"
            } else if first & 0xffc0 == 0xfe80 {
                "@linklocal"
            } else if first & 0xfe00 == 0xfc00 {
                "@private"
            } else if first & 0xff00 == 0xff00 {
                "@multicast"
            } else {
                "@public"
            }
        }
    }
}

/// The class of a port. Names are for services that a fleet is full of; everything else is only low or high.
pub fn port(port: u16) -> &'static str {
    match port {
        0 => ":0",
        20..=21 => ":ftp",
        22 | 2222 => ":ssh",
        23 => ":telnet",
        25 | 465 | 587 => ":mail",
        53 | 853 => ":dns",
        80 | 8000 | 8080 => ":http",
        123 => ":ntp",
        389 | 636 => ":ldap",
        443 | 8443 => ":https",
        3306 | 5432 | 6379 | 27017 | 9200 | 11211 => ":store",
        1..1024 => ":low",
        _ => ":high",
    }
}

/// First path components that mean the same on every Linux host.
const TOP: [&str; 21] = [
    "bin", "boot", "dev", "etc", "home", "lib", "lib64", "media", "mnt", "nix", "opt", "proc",
    "root", "run", "sbin", "snap", "srv", "sys", "tmp", "usr", "var",
];

/// A well-known top-level directory, without its slash.
pub fn is_top(component: &str) -> bool {
    TOP.binary_search(&component).is_ok()
}

/// Anybody may write there, so what runs from there came from anywhere.
pub fn is_world_writable(path: &str) -> bool {
    [
        "/tmp/",
        "/var/tmp/",
        "/dev/shm/",
        "/run/user/",
        "/dev/mqueue/",
    ]
    .iter()
    .any(|prefix| path.starts_with(prefix))
}

/// In somebody's home directory.
pub fn is_home(path: &str) -> bool {
    path.starts_with("/home/") || path.starts_with("/root/") || path.starts_with("~/")
}

/// The last component.
pub fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_class_are_one() {
        let class = |text: &str| address(text.parse().unwrap());
        assert_eq!(class("10.1.2.3"), class("192.168.0.9"));
        assert_eq!(class("203.0.113.9"), class("8.8.8.8"));
        assert_eq!(class("::ffff:10.0.0.1"), "@private");
        assert_eq!(class("fd99::11"), "@private");
        assert_eq!(class("169.254.169.254"), "@metadata");
        assert_eq!(class("::1"), "@loopback");
    }

    #[test]
    fn top_is_sorted() {
        assert!(TOP.is_sorted());
    }
}
