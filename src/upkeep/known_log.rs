//! Comparison of the log that a state knows with the one that its store holds. Somebody who may write to
//! the store can delete the newest manifests; a state that knows them must notice.

use crate::index::LogHead;
use crate::remote::LogObject;

/// Manifests that are missing from a log, as ranges of numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MissingManifests(Vec<(u64, u64)>);

impl MissingManifests {
    /// Finds the manifests up to `head` that the log must hold and does not: those above the newest
    /// snapshot, which has the number `covered`.
    pub fn find(head: &LogHead, covered: u64, manifests: &[LogObject]) -> Self {
        let mut missing = Vec::new();
        let mut next = covered.saturating_add(1);
        let present = manifests.iter().map(|object| object.number);
        for number in present.filter(|number| *number <= head.number) {
            if number > next {
                missing.push((next, number - 1));
            }
            next = next.max(number.saturating_add(1));
        }
        if next <= head.number {
            missing.push((next, head.number));
        }
        Self(missing)
    }

    /// Returns a sentence for people; `None` when nothing is missing.
    pub fn describe(&self, store: &str) -> Option<String> {
        /// Ranges that are named.
        const NAMED: usize = 5;
        let last = self.0.last()?;
        let mut ranges: Vec<String> = self.0.iter().take(NAMED).map(range).collect();
        if self.0.len() > NAMED {
            ranges.push(format!("others up to {}", last.1));
        }
        Some(format!(
            "the library's log in {store} has lost manifests that this state knows: {}. Nothing is lost here, \
             but another state would miss their changes",
            ranges.join(", ")
        ))
    }
}

fn range((first, last): &(u64, u64)) -> String {
    match first == last {
        true => first.to_string(),
        false => format!("{first} to {last}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::WriterId;
    use crate::remote::LogKind;

    fn missing(head: u64, covered: u64, numbers: &[u64]) -> Vec<(u64, u64)> {
        let head = LogHead {
            number: head,
            ..LogHead::default()
        };
        let object = |number: &u64| LogObject {
            kind: LogKind::Manifest,
            number: *number,
            writer: WriterId::from_bytes([1; 16]),
        };
        let manifests: Vec<LogObject> = numbers.iter().map(object).collect();
        MissingManifests::find(&head, covered, &manifests).0
    }

    #[test]
    fn gaps_at_the_end_and_between_are_found() {
        assert_eq!(missing(5, 0, &[1, 2, 3, 4, 5]), []);
        assert_eq!(missing(5, 3, &[4, 5, 5]), []);
        assert_eq!(missing(5, 5, &[]), []);
        assert_eq!(missing(5, 0, &[1, 2]), [(3, 5)]);
        assert_eq!(missing(9, 2, &[3, 6, 9]), [(4, 5), (7, 8)]);
        assert_eq!(missing(2, 0, &[1, 2, u64::MAX]), []);
    }
}
