//! `config` and `reload`.

use serde::Serialize;

use super::context::Context;
use super::outcome::{Outcome, Problems, Unhappy};
use super::output::{self, Align, Format, printable};
use super::session::Session;
use crate::app;
use crate::config::{ConfigRow, Loaded, Reloaded};
use crate::control::{Request, Response};

/// Extent of the output of `config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConfigScope {
    Everything,
    /// `--check`
    Problems,
}

impl ConfigScope {
    pub(super) const fn of(check: bool) -> Self {
        match check {
            true => Self::Problems,
            false => Self::Everything,
        }
    }
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    env_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<&'a [ConfigRow]>,
    warnings: &'a [String],
    without_effect: &'a [String],
    problems: &'a [String],
}

pub(super) fn show(loaded: &Loaded, extent: ConfigScope, format: Format) -> Outcome {
    let env_file = loaded
        .env_file
        .as_ref()
        .map(|path| path.display().to_string());
    let problems = &match &loaded.config {
        Ok(config) => app::check_settings(config),
        Err(problems) => problems.clone(),
    };
    if format == Format::Json {
        output::json(&Report {
            env_file,
            settings: (extent == ConfigScope::Everything).then_some(&loaded.rows),
            warnings: &loaded.warnings,
            without_effect: &loaded.without_effect,
            problems,
        })?;
        return match problems.is_empty() {
            true => Ok(()),
            false => Err(Unhappy.into()),
        };
    }
    let file = env_file.unwrap_or_else(|| "none".to_owned());
    let file = printable(&file);
    match extent {
        ConfigScope::Everything => {
            output::write(&format!(".env: {file}\n\n{}", text(&loaded.rows)))?
        }
        ConfigScope::Problems if problems.is_empty() => {
            output::write(&format!(".env: {file}\nthe configuration is in order\n"))?;
        }
        ConfigScope::Problems => {}
    }
    for warning in loaded.warnings.iter().chain(&loaded.without_effect) {
        output::note(&format!("warning: {warning}"));
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Problems(problems.to_vec()).into()),
    }
}

/// Returns the settings as a table, or fitted to a terminal: each effect below its setting.
fn text(rows: &[ConfigRow]) -> String {
    match output::columns() {
        None => wide_text(rows),
        Some(columns) => narrow_text(rows, columns),
    }
}

/// Blanks before the effect of a setting.
const INDENT: &str = "    ";

pub(super) fn narrow_text(rows: &[ConfigRow], columns: usize) -> String {
    let mut text = String::new();
    for row in rows {
        let value = match row.value.is_empty() {
            true => "-",
            false => &row.value,
        };
        let (name, value, source) = (&row.name, printable(value), printable(&row.source));
        let head = format!("{name} = {value}");
        let place = format!("({source})");
        match head.chars().count() + 2 + place.chars().count() <= columns {
            true => text.push_str(&format!("{head}  {place}\n")),
            false => text.push_str(&format!("{head}\n{INDENT}{place}\n")),
        }
        for line in output::wrapped(&row.effect, columns.saturating_sub(INDENT.len())) {
            text.push_str(&format!("{INDENT}{line}\n"));
        }
    }
    text
}

fn wide_text(rows: &[ConfigRow]) -> String {
    let head = [
        ("SETTING", Align::Left),
        ("VALUE", Align::Left),
        ("SOURCE", Align::Left),
        ("EFFECT", Align::Left),
    ];
    let cells = |row: &ConfigRow| {
        let value = match row.value.is_empty() {
            true => "-".to_owned(),
            false => row.value.clone(),
        };
        vec![
            row.name.clone(),
            value,
            row.source.clone(),
            row.effect.clone(),
        ]
    };
    output::table(&head, &rows.iter().map(cells).collect::<Vec<_>>())
}

pub(super) async fn reload(context: &Context) -> Outcome {
    let config = context.config.get();
    let Some(session) = Session::daemon_of(&config).await? else {
        anyhow::bail!(
            "no daemon runs on the state {}; settings are read at the next start",
            config.state_dir.display()
        );
    };
    for answer in session.answers(Request::Reload).await? {
        if let Response::Reloaded(reloaded) = answer {
            match context.format {
                Format::Json => output::json(&reloaded)?,
                Format::Text => output::write(&reloaded_text(&reloaded))?,
            }
        }
    }
    Ok(())
}

fn reloaded_text(reloaded: &Reloaded) -> String {
    let mut text = String::new();
    if !reloaded.applied.is_empty() {
        text.push_str(&format!("applied: {}\n", reloaded.applied.join(", ")));
    }
    if !reloaded.at_next_start.is_empty() {
        let waiting = reloaded.at_next_start.join(", ");
        text.push_str(&format!(
            "changed, in force after the next start: {waiting}\n"
        ));
    }
    if !reloaded.without_effect.is_empty() {
        let names = reloaded.without_effect.join(", ");
        text.push_str(&format!("changed, without effect: {names}\n"));
    }
    match text.is_empty() {
        true => "nothing changed\n".to_owned(),
        false => text,
    }
}
