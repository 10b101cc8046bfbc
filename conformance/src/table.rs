//! The table of results, scenario by driver, that a run ends with, and the one that is committed: what passed once must go on
//! passing. Collects, prints and compares; runs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// What stands in a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Pass,
    /// Passed without what this driver cannot send or show.
    PassBut(String),
    Fail(String),
    /// Why this driver cannot do it.
    Cannot(String),
}

impl Cell {
    fn is_pass(&self) -> bool {
        matches!(self, Cell::Pass | Cell::PassBut(_))
    }

    /// The word that a table shows, and the reason with it.
    fn parts(&self) -> (&'static str, Option<&String>) {
        match self {
            Cell::Pass => ("pass", None),
            Cell::PassBut(reason) => ("pass", Some(reason)),
            Cell::Fail(reason) => ("FAIL", Some(reason)),
            Cell::Cannot(reason) => ("no", Some(reason)),
        }
    }

    /// What a machine lacks says nothing about the broker.
    pub fn is_not_installed(&self) -> bool {
        matches!(self, Cell::Cannot(reason) if reason.contains("is not installed"))
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.parts() {
            (word, None) => f.write_str(word),
            (word, Some(reason)) => write!(f, "{word} ({reason})"),
        }
    }
}

/// Rows in the order in which they came first; columns by name.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<String>,
    cells: BTreeMap<(String, String), Cell>,
}

impl Table {
    pub fn set(&mut self, row: &str, column: &str, cell: Cell) {
        if !self.rows.iter().any(|known| known == row) {
            self.rows.push(row.to_owned());
        }
        self.cells.insert((row.to_owned(), column.to_owned()), cell);
    }

    /// Takes all cells of another table, in place of those that are here.
    pub fn take(&mut self, other: &Table) {
        for row in &other.rows {
            for ((_, column), cell) in other.cells.iter().filter(|((of, _), _)| of == row) {
                self.set(row, column, cell.clone());
            }
        }
    }

    pub fn get(&self, row: &str, column: &str) -> Option<&Cell> {
        self.cells.get(&(row.to_owned(), column.to_owned()))
    }

    /// Row, column and outcome of every cell.
    pub fn cells(&self) -> impl Iterator<Item = (&str, &str, &Cell)> {
        self.cells.iter().map(|((row, column), cell)| (row.as_str(), column.as_str(), cell))
    }

    pub fn passes(&self) -> usize {
        self.cells.values().filter(|cell| cell.is_pass()).count()
    }

    /// Cells of this table that passed when `recorded` was made and do not now, in words.
    pub fn lost(&self, recorded: &Table) -> Vec<String> {
        let has_lost = |(key, cell): &(&(String, String), &Cell)| {
            !cell.is_pass() && !cell.is_not_installed() && recorded.cells.get(*key).is_some_and(Cell::is_pass)
        };
        self.cells.iter().filter(has_lost).map(|((row, column), _)| format!("{row} / {column}")).collect()
    }

    /// Reads back what [`Table::render`] wrote, wherever it stands in a text; empty when it is not there.
    pub fn parse(text: &str) -> Table {
        let mut lines = text.lines().skip_while(|line| !line.starts_with("scenario "));
        let Some(head) = lines.next() else { return Table::default() };
        let columns: Vec<&str> = head.split(" | ").skip(1).map(str::trim).collect();
        let is_reason = |line: &&str| line.starts_with('(');
        let lines: Vec<&str> = lines.collect();
        let reasons: Vec<&str> = lines
            .iter()
            .filter(|line| is_reason(line))
            .filter_map(|line| line.split_once(") "))
            .map(|(_, reason)| reason)
            .collect();
        let mut table = Table::default();
        for line in lines.iter().take_while(|line| line.contains(" | ")) {
            let mut parts = line.split(" | ").map(str::trim);
            let row = parts.next().unwrap_or_default();
            for (column, word) in columns.iter().zip(parts) {
                if let Some(cell) = cell(word, &reasons) {
                    table.set(row, column, cell);
                }
            }
        }
        table
    }

    /// As text: one line a scenario, then the reasons that the cells refer to by number.
    pub fn render(&self) -> String {
        let columns: BTreeSet<&String> = self.cells.keys().map(|(_, column)| column).collect();
        let width = self.rows.iter().map(String::len).max().unwrap_or(0).max("scenario".len());
        let mut reasons: Vec<String> = Vec::new();
        let mut text = format!("{:width$}", "scenario");
        for column in &columns {
            let _ = write!(text, " | {column:>15}");
        }
        text.push('\n');
        for row in &self.rows {
            let _ = write!(text, "{row:width$}");
            for column in &columns {
                let word = self
                    .cells
                    .get(&(row.clone(), (*column).clone()))
                    .map_or_else(|| "-".into(), |cell| word(cell, &mut reasons));
                let _ = write!(text, " | {word:>15}");
            }
            text.push('\n');
        }
        for (number, reason) in reasons.iter().enumerate() {
            let _ = writeln!(text, "({}) {reason}", number + 1);
        }
        text
    }
}

/// What a word of a rendered table stands for.
fn cell(word: &str, reasons: &[&str]) -> Option<Cell> {
    if word == "pass" {
        return Some(Cell::Pass);
    }
    let (word, number) = word.split_once(" (")?;
    let number: usize = number.trim_end_matches(')').parse().ok()?;
    let reason = (*reasons.get(number.checked_sub(1)?)?).to_owned();
    match word {
        "pass" => Some(Cell::PassBut(reason)),
        "FAIL" => Some(Cell::Fail(reason)),
        "no" => Some(Cell::Cannot(reason)),
        _ => None,
    }
}

fn word(cell: &Cell, reasons: &mut Vec<String>) -> String {
    let (word, Some(reason)) = cell.parts() else { return "pass".into() };
    let number = reasons.iter().position(|known| known == reason).unwrap_or_else(|| {
        reasons.push(reason.clone());
        reasons.len() - 1
    });
    format!("{word} ({})", number + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_shown_and_equal_reasons_share_a_number() {
        let mut table = Table::default();
        table.set("round trip", "a", Cell::Pass);
        table.set("round trip", "b", Cell::Cannot("no offsets".into()));
        table.set("seek", "a", Cell::PassBut("no tag".into()));
        table.set("seek", "b", Cell::Cannot("no offsets".into()));
        table.set("seek", "c", Cell::Fail("lost one".into()));
        let text = table.render();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "scenario   |               a |               b |               c");
        assert_eq!(lines[1], "round trip |            pass |          no (1) |               -");
        assert_eq!(lines[2], "seek       |        pass (2) |          no (1) |        FAIL (3)");
        assert_eq!(&lines[3..], ["(1) no offsets", "(2) no tag", "(3) lost one"]);
        let again = Table::parse(&format!("# Results\n\n```\n{text}```\n"));
        assert_eq!((again.cells, again.rows), (table.cells, table.rows));
    }

    #[test]
    fn what_passed_once_is_missed_when_it_does_not_any_more() {
        let mut recorded = Table::default();
        recorded.set("seek", "a", Cell::Pass);
        recorded.set("seek", "b", Cell::PassBut("no tag".into()));
        recorded.set("seek", "c", Cell::Pass);
        recorded.set("tag", "a", Cell::Cannot("no filter".into()));
        let mut now = Table::default();
        now.set("seek", "a", Cell::Cannot("gave up".into()));
        now.set("seek", "b", Cell::Pass);
        now.set("seek", "c", Cell::Cannot("c is not installed: no npm".into()));
        now.set("tag", "a", Cell::Fail("broken".into()));
        assert_eq!(now.lost(&recorded), ["seek / a"]);
        recorded.take(&now);
        assert_eq!((recorded.passes(), recorded.cells.len()), (1, 4));
    }
}
