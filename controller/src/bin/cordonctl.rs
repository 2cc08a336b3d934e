//! `cordonctl`: looks at a Cordon fleet and gives it orders.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use cordon_controller::ctl::{self, Answer, args::Cli};
use cordon_controller::http::problem::chain;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let tell = |answer: &Answer| {
        if cli.json {
            print(&format!("{}\n", answer.json))
        } else {
            print(&answer.text)
        }
    };
    match ctl::run(&cli).await {
        Ok(answer) => tell(&answer),
        Err(error) => {
            if let Some(answer) = error.answer() {
                tell(answer);
            }
            eprintln!("cordonctl: {}", chain(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

/// A reader that went away (`| head`) is no failure.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("cordonctl: cannot write the answer: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
