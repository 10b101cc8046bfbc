//! The table of results, scenario by driver, that a run ends with. Collects and prints; decides nothing.

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

fn word(cell: &Cell, reasons: &mut Vec<String>) -> String {
    let (word, reason) = match cell {
        Cell::Pass => return "pass".into(),
        Cell::PassBut(reason) => ("pass", reason),
        Cell::Fail(reason) => ("FAIL", reason),
        Cell::Cannot(reason) => ("no", reason),
    };
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
    }
}
