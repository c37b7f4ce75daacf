//! Command `test-bots` and its table.

use std::path::PathBuf;

use anyhow::Context as _;

use super::context::Context;
use super::outcome::{Outcome, Unhappy};
use super::output::{self, Align, Format, count, printable};
use crate::app::{self, AccessLine, BotLine, BotReport, MeasuredLine, Test};

/// Runs the test. `measure` is set when the speed is measured too, and holds the file for the limits.
pub(super) async fn test(measure: Option<&Option<PathBuf>>, context: &Context) -> Outcome {
    let test = match measure {
        Some(_) => Test::Speed,
        None => Test::Function,
    };
    let report = app::test_bots(&context.config.get(), test).await?;
    if let (Some(Some(file)), Some(limits)) = (measure, &report.limits) {
        let json = serde_json::to_string_pretty(limits)? + "\n";
        std::fs::write(file, json)
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    match (context.format, &report.limits, measure) {
        (Format::Json, ..) => output::json(&report)?,
        (Format::Text, Some(limits), Some(None)) => {
            output::note_text(&text(&report));
            output::json(limits)?;
        }
        (Format::Text, ..) => output::write(&text(&report))?,
    }
    match report.ok {
        true => Ok(()),
        false => Err(Unhappy.into()),
    }
}

fn text(report: &BotReport) -> String {
    let head = [
        ("BOT", Align::Right),
        ("NAME", Align::Left),
        ("CHANNEL", Align::Left),
        ("TITLE", Align::Left),
        ("MEMBER", Align::Left),
        ("POST", Align::Left),
        ("EDIT", Align::Left),
        ("DELETE", Align::Left),
        ("PIN", Align::Left),
        ("RESULT", Align::Left),
    ];
    let mut rows = Vec::new();
    for bot in &report.bots {
        let lines: Vec<&AccessLine> = report
            .access
            .iter()
            .filter(|line| line.bot == bot.number)
            .collect();
        // A bot that cannot enter its own channel has no line for that channel.
        if !lines.iter().any(|line| line.own) {
            rows.push(shut_out(bot));
        }
        rows.extend(lines.into_iter().map(|line| row(bot, line)));
    }
    let mut text = output::table(&head, &rows);
    if let Some(measured) = &report.measured {
        text.push_str(&format!("\n{}", speeds(measured)));
    }
    let mut paragraph = String::new();
    for bot in &report.bots {
        for new in &bot.new_channels {
            let advice = match new.may_post {
                true => format!("set CHAT_ID_{}={} to use it", bot.number, new.channel),
                false => "it may not post there".to_owned(),
            };
            paragraph.push_str(&format!(
                "bot {} is also in \"{}\" ({}): {advice}\n",
                bot.number,
                printable(&new.title),
                new.channel
            ));
        }
    }
    for warning in &report.warnings {
        paragraph.push_str(&format!("warning: {}\n", printable(warning)));
    }
    for note in &report.notes {
        paragraph.push_str(&format!("note: {}\n", printable(note)));
    }
    for wait in &report.waits {
        paragraph.push_str(&format!(
            "note: bot {} was told to wait {} s ({})\n",
            wait.bot, wait.seconds, wait.step
        ));
    }
    if !paragraph.is_empty() {
        text.push_str(&format!("\n{paragraph}"));
    }
    text.push_str(&format!("\n{}\n", verdict(report)));
    text
}

fn speeds(measured: &[MeasuredLine]) -> String {
    let connections = measured.iter().find_map(|line| line.connections);
    let all = connections.map_or_else(|| "ALL".to_owned(), |count| format!("{count} CONNECTIONS"));
    let head = [
        ("BOT", Align::Right),
        ("ROUND TRIP", Align::Right),
        ("1 CONNECTION UP", Align::Right),
        ("DOWN", Align::Right),
        (&format!("{all} UP"), Align::Right),
        ("DOWN", Align::Right),
        ("", Align::Left),
    ];
    let rate = |value: Option<f64>| match value {
        Some(megabytes) => format!("{megabytes:.1} MB/s"),
        None => "-".to_owned(),
    };
    let row = |line: &MeasuredLine| {
        let trip = line.round_trip_ms;
        vec![
            line.bot.to_string(),
            trip.map_or_else(|| "-".to_owned(), |trip| format!("{trip:.0} ms")),
            rate(line.lane_up),
            rate(line.lane_down),
            rate(line.bot_up),
            rate(line.bot_down),
            line.problem.clone().unwrap_or_default(),
        ]
    };
    output::table(&head, &measured.iter().map(row).collect::<Vec<_>>())
}

fn row(bot: &BotLine, line: &AccessLine) -> Vec<String> {
    let mark = |granted: bool| if granted { "yes" } else { "no" }.to_owned();
    let result = match (&line.problem, line.own) {
        (Some(problem), _) => format!("failed: {problem}"),
        (None, true) => {
            let readers: Vec<_> = line.read_by.iter().map(u32::to_string).collect();
            format!("ok: posted, read by {}, deleted", readers.join(" and "))
        }
        (None, false) if line.member => "ok: can read".to_owned(),
        (None, false) => "not in this channel".to_owned(),
    };
    vec![
        bot.number.to_string(),
        bot.name.clone().unwrap_or_else(|| "-".to_owned()),
        line.channel.clone(),
        line.title.clone().unwrap_or_else(|| "-".to_owned()),
        mark(line.member),
        mark(line.post),
        mark(line.edit),
        mark(line.delete),
        mark(line.pin),
        result,
    ]
}

fn shut_out(bot: &BotLine) -> Vec<String> {
    let none = || "-".to_owned();
    let problem = bot.problem.as_deref().unwrap_or("it has no channel");
    let mut row = vec![
        bot.number.to_string(),
        bot.name.clone().unwrap_or_else(none),
        bot.channel.clone(),
    ];
    row.extend((0..6).map(|_| none()));
    row.push(format!("failed: {problem}"));
    row
}

fn verdict(report: &BotReport) -> String {
    let failed = report.bots.iter().filter(|bot| bot.problem.is_some());
    let all = report.bots.len() as u64;
    match failed.count() {
        0 => format!(
            "{} in {}: all work",
            count(all, "bot"),
            count(report.channels.len() as u64, "channel")
        ),
        some => format!("{some} of {} cannot work as set up", count(all, "bot")),
    }
}
