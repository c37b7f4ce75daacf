//! Reasons in docs/MEDIA.md for what players do not play. Each cell that says no has one, and each reason a cell.

const BEGIN: &str = "<!-- reasons: read by tests/play/reasons.rs -->\n";
const END: &str = "<!-- /reasons -->";

/// Reason, and the cells that it explains.
struct Reason<'a> {
    says: &'a str,
    players: &'a str,
    sources: &'a str,
}

impl Reason<'_> {
    /// `all`, or beginnings of names with `;` between them.
    fn names(list: &str, name: &str) -> bool {
        list == "all" || list.split(';').any(|one| name.starts_with(one.trim()))
    }

    fn explains(&self, cell: &Cell) -> bool {
        cell.says == self.says
            && Self::names(self.players, cell.player)
            && Self::names(self.sources, cell.source)
    }
}

/// Cell of the table that says no.
struct Cell<'a> {
    source: &'a str,
    player: &'a str,
    says: &'a str,
}

/// Splits the rows of a table in Markdown, behind its head.
fn rows(table: &str) -> Vec<Vec<&str>> {
    let rows = table.lines().map(|row| {
        let cells = row.trim_matches('|').split('|');
        cells.map(str::trim).collect()
    });
    rows.collect()
}

/// Returns what is wrong with the reasons in `document` for `table`. Words of `own` are reasons themselves.
pub fn problems(document: &str, table: &str, own: &[&str]) -> Vec<String> {
    let (_, rest) = document.split_once(BEGIN).expect("the reasons begin");
    let (written, _) = rest.split_once(END).expect("the reasons end");
    let written = rows(written);
    let reasons = written.iter().skip(2).map(|row| Reason {
        says: row[0],
        players: row[1],
        sources: row[2],
    });
    let reasons: Vec<Reason> = reasons.collect();
    let table = rows(table);
    let head = &table[0];
    let cells = table.iter().skip(2).flat_map(|row| {
        let cells = row.iter().zip(head).skip(1);
        cells.filter_map(|(cell, player)| {
            let says = cell.strip_prefix("no: ").unwrap_or(cell);
            let needs = *cell != "yes" && !own.contains(&says);
            needs.then_some(Cell {
                source: row[0],
                player,
                says,
            })
        })
    });
    let cells: Vec<Cell> = cells.collect();
    let has_none = |cell: &&Cell| !reasons.iter().any(|reason| reason.explains(cell));
    let without = cells.iter().filter(has_none).map(|cell| {
        format!(
            "no reason why: {} | {} | {}",
            cell.says, cell.player, cell.source
        )
    });
    let explains_none = |reason: &&Reason| !cells.iter().any(|cell| reason.explains(cell));
    let idle = reasons.iter().filter(explains_none).map(|reason| {
        format!(
            "a reason for no cell: {} | {} | {}",
            reason.says, reason.players, reason.sources
        )
    });
    without.chain(idle).collect()
}

#[test]
fn each_no_needs_a_reason_and_each_reason_a_no() {
    let document = |reason: &str| {
        format!("{BEGIN}| no | player | source | why |\n| --- | --- | --- | --- |\n{reason}{END}")
    };
    let table = "| source | VLC, MP4 | mpv |\n| --- | --- | --- |\n| cut | yes | no: it stops |\n";
    assert_eq!(
        problems(&document("| it stops | mpv | all | cut |\n"), table, &[]),
        [""; 0]
    );
    assert_eq!(problems(&document(""), table, &["it stops"]), [""; 0]);
    assert_eq!(problems(&document(""), table, &[]).len(), 1);
    assert_eq!(
        problems(&document("| it stops | VLC | all | cut |\n"), table, &[]).len(),
        2
    );
}
