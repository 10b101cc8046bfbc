//! What the real RocketMQ and RabbitMQ do otherwise than this broker, scenario by scenario, and the judgement that was made of
//! each: the list `REFERENCE.md`, which a run against a peer is held to. Compares and prints; runs nothing.

use crate::table::{Cell, Table};

/// A cell in which a peer's outcome is not the recorded one of this broker.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    pub row: String,
    pub column: String,
    pub theirs: Cell,
    pub ours: Cell,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} / {}: {} there, {} here", self.row, self.column, self.theirs, self.ours)
    }
}

/// Every cell of a peer's run that is also in `recorded`, with another outcome there.
pub fn differences(peer: &Table, recorded: &Table) -> Vec<Difference> {
    let compare = |(row, column, theirs): (&str, &str, &Cell)| {
        let ours = recorded.get(row, column)?;
        let differs = theirs != ours && !theirs.is_not_installed() && !ours.is_not_installed();
        differs.then(|| Difference {
            row: row.to_owned(),
            column: column.to_owned(),
            theirs: theirs.clone(),
            ours: ours.clone(),
        })
    };
    peer.cells().filter_map(compare).collect()
}

/// The judgements: lines `| peer | scenario | client | judgement |`, where the client may be `all`.
#[derive(Debug, Default)]
pub struct Judgements(Vec<[String; 4]>);

impl Judgements {
    /// Reads the lines wherever they stand in a text.
    pub fn parse(text: &str) -> Self {
        let parts = |line: &str| {
            let inner = line.strip_prefix('|')?.strip_suffix('|')?;
            let parts: Vec<String> = inner.split('|').map(|part| part.trim().to_owned()).collect();
            parts.try_into().ok()
        };
        Self(text.lines().filter_map(parts).collect())
    }

    /// What was decided about this difference from `peer`.
    pub fn of(&self, peer: &str, difference: &Difference) -> Option<&str> {
        let is_it = |[of, row, column, _]: &&[String; 4]| {
            of == peer && *row == difference.row && (column == "all" || *column == difference.column)
        };
        self.0.iter().find(is_it).map(|[.., judgement]| judgement.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cells_of_both_tables_that_differ_are_differences() {
        let mut recorded = Table::default();
        recorded.set("seek", "a", Cell::Pass);
        recorded.set("seek", "b", Cell::Pass);
        recorded.set("tag", "a", Cell::Cannot("no filter".into()));
        let mut peer = Table::default();
        peer.set("seek", "a", Cell::Fail("lost one".into()));
        peer.set("seek", "b", Cell::Pass);
        peer.set("seek", "c", Cell::Pass);
        peer.set("tag", "a", Cell::Cannot("no filter".into()));
        let found = differences(&peer, &recorded);
        let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["seek / a: FAIL (lost one) there, pass here"]);
    }

    #[test]
    fn a_judgement_is_of_one_peer_and_one_client_or_all() {
        let text = "# Differences\n\n| peer | scenario | client | judgement |\n|---|---|---|---|\n\
            | rocketmq | seek | a | ours: it finds them |\n| rabbitmq | tag | all | theirs |\n";
        let judgements = Judgements::parse(text);
        let difference = |row: &str, column: &str| Difference {
            row: row.into(),
            column: column.into(),
            theirs: Cell::Pass,
            ours: Cell::Cannot("why".into()),
        };
        assert_eq!(judgements.of("rocketmq", &difference("seek", "a")), Some("ours: it finds them"));
        assert_eq!(judgements.of("rocketmq", &difference("seek", "b")), None);
        assert_eq!(judgements.of("rabbitmq", &difference("seek", "a")), None);
        assert_eq!(judgements.of("rabbitmq", &difference("tag", "z")), Some("theirs"));
    }
}
