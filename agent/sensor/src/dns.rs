//! Reading DNS messages, of which the end may be missing.

use std::net::IpAddr;

use cordon_behavior::event::Dns;
use domain::base::Message;
use domain::rdata::{A, Aaaa};

/// Most addresses kept of an answer.
const ADDRESSES: usize = 16;

/// A message's first question and, of an answer, the addresses in it, as far as they lie in `bytes`;
/// `None` when this is no DNS message with a question. `server` is left open.
///
/// The name is printable ASCII whatever the bytes: other bytes, dots within labels and backslashes
/// are escaped as in RFC 1035, `\DDD` and `\X`. It has at most 1,024 characters.
pub fn read(bytes: &[u8]) -> Option<Dns> {
    let message = Message::from_slice(bytes).ok()?;
    let header = message.header();
    let question = message.question().next()?.ok()?;
    let mut dns = Dns {
        name: question.qname().to_string(),
        query_type: question.qtype().to_string(),
        is_answer: header.qr(),
        ..Dns::default()
    };
    if header.qr() {
        dns.rcode = header.rcode().to_int();
        dns.addresses = addresses(message);
    }
    Some(dns)
}

fn addresses(message: &Message<[u8]>) -> Vec<IpAddr> {
    let Ok(answer) = message.answer() else {
        return Vec::new();
    };
    let records = answer.map_while(Result::ok);
    let addresses = records.filter_map(|record| {
        if let Ok(Some(record)) = record.to_record::<A>() {
            return Some(IpAddr::V4(record.data().addr()));
        }
        let record = record.to_record::<Aaaa>().ok()??;
        Some(IpAddr::V6(record.data().addr()))
    });
    addresses.take(ADDRESSES).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer to `www.example.net A` with one address.
    const ANSWER: &[u8] =
        b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0\x03www\x07example\x03net\0\0\x01\0\x01\
        \xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xcb\0\x71\x09";

    #[test]
    fn an_answer_is_read() {
        let dns = read(ANSWER).expect("it is well-formed");
        assert_eq!(dns.name, "www.example.net");
        assert_eq!(dns.query_type, "A");
        assert!(dns.is_answer && dns.rcode == 0);
        assert_eq!(
            dns.addresses,
            ["203.0.113.9".parse::<IpAddr>().expect("an address")]
        );
    }

    /// The kernel side keeps the first 512 bytes only.
    #[test]
    fn an_answer_without_its_end_still_has_its_name() {
        let dns = read(&ANSWER[..ANSWER.len() - 3]).expect("the question is whole");
        assert_eq!(
            (dns.name.as_str(), dns.addresses.len()),
            ("www.example.net", 0)
        );
    }

    #[test]
    fn bytes_that_do_not_print_are_escaped() {
        let bytes = b"\0\0\x01\0\0\x01\0\0\0\0\0\0\x06\x1b[2J.\xff\x02.x\0\0\x10\0\x01";
        let dns = read(bytes).expect("any bytes may be in a name");
        assert_eq!(
            (dns.name.as_str(), dns.query_type.as_str()),
            (r"\027[2J\.\255.\.x", "TXT")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes: Vec<u8>) {
            read(&bytes);
        }

        /// A header that promises a question and answers reaches past the first check.
        #[test]
        fn any_body_gives_a_bounded_printable_name(
            header: [u8; 4],
            body in proptest::collection::vec(any::<u8>(), 0..500),
        ) {
            let mut bytes = header.to_vec();
            bytes.extend([0, 1, 0, 9, 0, 0, 0, 0]);
            bytes.extend(body);
            if let Some(dns) = read(&bytes) {
                prop_assert!(dns.name.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
                prop_assert!(dns.name.len() <= 1024 && dns.query_type.len() <= 16);
                prop_assert!(dns.addresses.len() <= ADDRESSES);
            }
        }
    }
}
