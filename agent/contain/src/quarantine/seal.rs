//! Content, encrypted and authenticated piece by piece: ChaCha20-Poly1305, a key a file, the piece's number as nonce. The
//! number of the last piece is marked, so that none can be left out, moved or added.

use std::io::{self, ErrorKind, Read, Write};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sha2::{Digest as _, Sha256};

const PIECE_BYTES: usize = 64 << 10;
const TAG_BYTES: usize = 16;

/// Seals what `from` has, at most `most` bytes; its SHA-256, hex.
pub(super) fn seal(
    from: &mut impl Read,
    to: &mut impl Write,
    key: &[u8; 32],
    most: u64,
) -> io::Result<String> {
    let key = key_of(key)?;
    let mut hash = Sha256::new();
    let mut from = from.take(most.saturating_add(1));
    let mut total = 0;
    for number in 0.. {
        let mut piece = Vec::with_capacity(PIECE_BYTES + TAG_BYTES);
        (&mut from)
            .take(PIECE_BYTES as u64)
            .read_to_end(&mut piece)?;
        total += piece.len() as u64;
        if total > most {
            return Err(ErrorKind::FileTooLarge.into());
        }
        hash.update(&piece);
        let is_last = piece.len() < PIECE_BYTES;
        key.seal_in_place_append_tag(nonce(number, is_last), Aad::empty(), &mut piece)
            .map_err(|_| io::Error::other("encryption failed"))?;
        to.write_all(&piece)?;
        if is_last {
            break;
        }
    }
    Ok(hex::encode(hash.finalize()))
}

/// The content of what was sealed; what is not all of it is [`ErrorKind::InvalidData`].
pub(super) fn open(
    from: &mut impl Read,
    to: &mut impl Write,
    key: &[u8; 32],
) -> io::Result<String> {
    let key = key_of(key)?;
    let mut hash = Sha256::new();
    for number in 0.. {
        let mut piece = Vec::with_capacity(PIECE_BYTES + TAG_BYTES);
        from.take((PIECE_BYTES + TAG_BYTES) as u64)
            .read_to_end(&mut piece)?;
        let is_last = piece.len() < PIECE_BYTES + TAG_BYTES;
        let opened = key.open_in_place(nonce(number, is_last), Aad::empty(), &mut piece);
        let content = opened.map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
        hash.update(&*content);
        to.write_all(content)?;
        if is_last {
            break;
        }
    }
    Ok(hex::encode(hash.finalize()))
}

/// SHA-256 of what `from` has, hex.
pub(super) fn sha256(from: &mut impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(hex::encode(hash.finalize())),
            length => hash.update(&piece[..length]),
        }
    }
}

fn key_of(key: &[u8; 32]) -> io::Result<LessSafeKey> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key);
    key.map(LessSafeKey::new)
        .map_err(|_| io::Error::other("the key has a wrong length"))
}

/// Never twice with one key: each file has its own.
fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[11] = u8::from(is_last);
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        seal(&mut &*content, &mut bytes, &KEY, 1 << 20).unwrap();
        bytes
    }

    fn opened(sealed: &[u8], key: &[u8; 32]) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        let done = open(&mut &*sealed, &mut content, key);
        done.ok().map(|_| content)
    }

    #[test]
    fn what_was_sealed_is_opened_and_nothing_else_is() {
        for length in [
            0,
            1,
            PIECE_BYTES - 1,
            PIECE_BYTES,
            PIECE_BYTES + 1,
            3 * PIECE_BYTES,
        ] {
            let content: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let bytes = sealed(&content);
            assert_eq!(opened(&bytes, &KEY).as_ref(), Some(&content), "{length}");
            assert_eq!(opened(&bytes, &[8; 32]), None);
            assert_eq!(opened(&bytes[..bytes.len() - 1], &KEY), None);
            assert_eq!(opened(&[&bytes[..], b"x"].concat(), &KEY), None);
            let mut altered = bytes.clone();
            altered[length / 2] ^= 1;
            assert_eq!(opened(&altered, &KEY), None);
        }
        // The last piece is left out, and two are exchanged.
        let piece = PIECE_BYTES + TAG_BYTES;
        let bytes = sealed(&vec![1; 2 * PIECE_BYTES + 5]);
        assert_eq!(opened(&bytes[..2 * piece], &KEY), None);
        let swapped = [
            &bytes[piece..2 * piece],
            &bytes[..piece],
            &bytes[2 * piece..],
        ]
        .concat();
        assert_eq!(opened(&swapped, &KEY), None);
        assert!(!bytes.windows(16).any(|window| window == [1; 16]));
    }

    #[test]
    fn more_than_is_allowed_is_not_sealed() {
        let content = vec![0; 100];
        let mut bytes = Vec::new();
        assert!(seal(&mut &*content, &mut bytes, &KEY, 99).is_err());
        assert!(seal(&mut &*content, &mut bytes, &KEY, 100).is_ok());
    }
}
