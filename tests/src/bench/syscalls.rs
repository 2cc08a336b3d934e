//! An unrelated workload that does nothing but cheap system calls: getppid, and reads and writes of one byte.

use std::io::{Read as _, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result};
use nix::unistd::getppid;
use serde::{Deserialize, Serialize};

/// Calls between two looks at the clock.
const BLOCK: u32 = 20_000;

/// How much.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Blocks of calls.
    #[arg(long)]
    pub blocks: u32,
}

/// How fast it went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Speed {
    /// Nanoseconds a call in the fastest tenth of the blocks: what it costs when nothing else runs.
    pub nanoseconds: f64,
}

/// Does it and prints the speed.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut zero = std::fs::File::open("/dev/zero")?;
    let mut null = std::fs::File::options().write(true).open("/dev/null")?;
    let mut byte = [0u8; 1];
    let mut blocks = Vec::new();
    for _ in 0..arguments.blocks {
        let began = Instant::now();
        for _ in 0..BLOCK / 4 {
            std::hint::black_box(getppid());
            zero.read_exact(&mut byte)?;
            null.write_all(&byte)?;
            std::hint::black_box(getppid());
        }
        blocks.push(began.elapsed().as_nanos() as f64 / f64::from(BLOCK));
    }
    blocks.sort_by(f64::total_cmp);
    let fast = &blocks[..(blocks.len() / 10).max(1).min(blocks.len())];
    let fastest = fast.last().context("no block")?;
    let speed = Speed {
        nanoseconds: *fastest,
    };
    println_json(&speed)
}

fn println_json(speed: &Speed) -> Result<()> {
    let line = serde_json::to_string(speed)? + "\n";
    Ok(std::io::stdout().write_all(line.as_bytes())?)
}
