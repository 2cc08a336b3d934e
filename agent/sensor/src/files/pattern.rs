//! Names with stars in them.

/// Whether `name` is what `pattern` says: `*` stands for any number of bytes.
///
/// A star at the beginning does not stand for a name's first dot, as in a shell.
pub(super) fn matches(pattern: &str, name: &[u8]) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern.as_bytes() == name;
    };
    if head.is_empty() && name.starts_with(b".") {
        return false;
    }
    let Some(mut left) = name.strip_prefix(head.as_bytes()) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let Some(last) = parts.pop() else {
        return false;
    };
    for part in parts {
        let Some(at) = find(left, part.as_bytes()) else {
            return false;
        };
        left = &left[at + part.len()..];
    }
    left.ends_with(last.as_bytes())
}

pub(super) fn has_star(pattern: &str) -> bool {
    pattern.contains('*')
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    bytes.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything_but_a_first_dot() {
        for (pattern, name, wanted) in [
            ("passwd", "passwd", true),
            ("passwd", "passwd-", false),
            ("ssh_host_*_key", "ssh_host_rsa_key", true),
            ("ssh_host_*_key", "ssh_host_rsa_key.pub", false),
            ("*.conf", "admin.conf", true),
            ("*.conf", ".conf", false),
            ("*", "x", true),
            ("*", ".x", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*a", "a", false),
            ("a*b*b", "ab", false),
        ] {
            assert_eq!(
                matches(pattern, name.as_bytes()),
                wanted,
                "{pattern} {name}"
            );
        }
    }
}
