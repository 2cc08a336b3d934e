//! A file or standard input, plain or compressed.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::cannot_read;

/// How every zstd frame begins.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A frame may not ask for more than this while it is read (2^27 bytes, what the zstd program allows too).
const WINDOW_LOG: u32 = 27;

type Source = io::Chain<Cursor<Vec<u8>>, Box<dyn Read>>;

pub(super) enum Input {
    Plain(Source),
    Compressed(zstd::Decoder<'static, BufReader<Source>>),
}

impl Input {
    /// Looks at the first bytes, whatever the file's name is.
    pub(super) fn open(file: &Path) -> Result<Self> {
        let mut source: Box<dyn Read> = if file == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            let opened = File::open(file).with_context(|| cannot_read(file))?;
            if opened.metadata().is_ok_and(|meta| meta.is_dir()) {
                bail!(
                    "cannot read {}: it is a folder, give a file",
                    file.display()
                );
            }
            Box::new(opened)
        };
        let mut head = Vec::new();
        source
            .by_ref()
            .take(MAGIC.len() as u64)
            .read_to_end(&mut head)
            .with_context(|| cannot_read(file))?;
        let is_compressed = head == MAGIC;
        let whole = Cursor::new(head).chain(source);
        if !is_compressed {
            return Ok(Self::Plain(whole));
        }
        // Goes on to the next frame where one ends.
        let mut decoder = zstd::Decoder::new(whole).context("cannot start the decompression")?;
        decoder
            .window_log_max(WINDOW_LOG)
            .context("cannot bound the decompression")?;
        Ok(Self::Compressed(decoder))
    }

    pub(super) fn is_compressed(&self) -> bool {
        matches!(self, Self::Compressed(_))
    }
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(source) => source.read(into),
            Self::Compressed(source) => source.read(into),
        }
    }
}
