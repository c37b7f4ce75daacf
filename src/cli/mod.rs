//! Commands: parses arguments, runs a command, prints tables or JSON.
//!
//! Exit status: 0 done; 1 failed, with one line on stderr for each problem; 2 wrong usage.
#![warn(clippy::print_stderr, clippy::print_stdout)] // `output` escapes what it prints

mod args;
mod bots;
mod context;
mod daemon;
mod files;
mod flags;
mod holders;
mod outcome;
mod output;
mod paths;
mod progress;
mod session;
mod settings;
mod strm;
#[cfg(test)]
mod tests;
mod upkeep;
mod upload;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind as UsageError;

use crate::app;
use crate::config::{self, Config, ConfigHandle, ConfigInputs, LogLevel};
use crate::process::arenas;
use crate::telemetry;
use args::{Arguments, Command};
use context::Context;
use outcome::Outcome;
use output::Format;

/// Exit status of wrong usage, the same as clap's.
const USAGE: u8 = 2;

/// Runs the program: `arguments` are those of the process, its own name first.
#[must_use]
pub fn run(arguments: &[OsString]) -> ExitCode {
    // This comes first, because the process becomes a confined media tool and must not read settings.
    if arguments.get(1).is_some_and(|first| first == "confine") {
        return app::confine(&arguments[2..]);
    }
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Printing fails if nobody reads. The exit status is right anyway.
            let _ = error.print();
            return match error.kind() {
                UsageError::DisplayHelp | UsageError::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(USAGE),
            };
        }
    };
    outcome::report(execute(&arguments))
}

fn execute(arguments: &Arguments) -> Outcome {
    if matches!(arguments.command, Command::Version) {
        return Ok(output::write(concat!(
            "tgfs ",
            env!("CARGO_PKG_VERSION"),
            "\n"
        ))?);
    }
    if matches!(arguments.command, Command::Mount(_) | Command::Serve(_)) {
        arenas::become_one_with_few();
    }
    let format = match arguments.global.json {
        true => Format::Json,
        false => Format::Text,
    };
    let inputs = ConfigInputs::from_process(
        arguments.setting_flags()?,
        arguments.global.env_file.clone(),
    )?;
    let loaded = config::load(&inputs);
    if let Command::Config { check } = arguments.command {
        return settings::show(&loaded, settings::ConfigScope::of(check), format);
    }
    for warning in &loaded.warnings {
        output::note(&format!("warning: {warning}"));
    }
    let config = match loaded.config {
        Ok(config) => config,
        Err(problems) => return Err(outcome::Problems(problems).into()),
    };
    let telemetry = telemetry::start(&log_config(arguments, &config))?;
    let context = Context {
        format,
        config: ConfigHandle::new(config),
        inputs,
        telemetry,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(dispatch(&arguments.command, &context));
    // A read of a file that hangs must not keep the process alive.
    runtime.shutdown_background();
    outcome
}

/// Returns the settings of the log. A daemon logs as configured. A command logs only warnings and errors
/// unless `--log` is given.
fn log_config(arguments: &Arguments, config: &Config) -> config::LogSettings {
    let is_daemon = matches!(arguments.command, Command::Mount(_) | Command::Serve(_));
    match is_daemon || arguments.global.log.is_some() {
        true => config.log.clone(),
        false => config::LogSettings {
            level: config.log.level.max(LogLevel::Warning),
            file: None,
        },
    }
}

async fn dispatch(command: &Command, context: &Context) -> Outcome {
    match command {
        Command::Mount(mount) => daemon::mount(mount, context).await,
        Command::Serve(_) => daemon::serve(context).await,
        Command::Umount(umount) => daemon::umount(umount, context).await,
        Command::Stop(stop) => daemon::stop(stop, context).await,
        Command::Upload(upload) => upload::run(upload, context).await,
        Command::Import(import) => upload::import(import, context).await,
        Command::List { directory } => files::list(directory, context).await,
        Command::Status { wait, path } => {
            let wait = match wait {
                true => crate::control::Wait::UntilFinal,
                false => crate::control::Wait::No,
            };
            files::status(path.as_deref(), wait, context).await
        }
        Command::LoginLink => files::login_link(context).await,
        Command::Url { path, file } => files::url(path, files::UrlKind::of(*file), context).await,
        Command::Strm(arguments) => strm::run(arguments, context).await,
        Command::Delete(delete) => files::delete(delete, context).await,
        Command::Retry { paths } => files::retry(paths, context).await,
        Command::TestBots { measure } => bots::test(measure.as_ref(), context).await,
        Command::Plan { file } => upkeep::plan(file, context).await,
        Command::Reload => settings::reload(context).await,
        Command::DbStats => upkeep::stats(context).await,
        Command::Cleanup { hours } => upkeep::cleanup(*hours, context).await,
        Command::CacheClear { path } => upkeep::clear_cache(path.as_deref(), context).await,
        Command::Verify { deep } => upkeep::verify(upkeep::depth(*deep), context).await,
        Command::Recover { take_over } => upkeep::recover(upkeep::claim(*take_over), context).await,
        // These commands were handled before.
        Command::Config { .. } | Command::Version => {
            Err(io::Error::from(io::ErrorKind::Unsupported).into())
        }
    }
}
