//! The simulator as a program.

mod args;

use anyhow::Result;
use clap::Parser;
use telegram_sim::Server;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Args;

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::start(args.options()?).await?;
    server.write_env(&args.write_env)?;
    let options = server.options();
    println!(
        "ready listen={} bots={} channels={} env={}",
        server.address(),
        options.bots,
        options.channels,
        args.write_env.display()
    );
    // Cancel-safe: a signal that comes second is not needed.
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    server.stop().await;
    Ok(())
}
