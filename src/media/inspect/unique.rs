//! Texts that are made unique by numbers. Thousands of files can share one name, so each of them must
//! not try all the numbers of the others again.

use std::collections::{HashMap, HashSet};

/// Texts that are taken.
#[derive(Debug, Default)]
pub struct UniqueTexts {
    taken: HashSet<String>,
    /// The number that each base tries next. Those below it are taken.
    next: HashMap<String, u32>,
}

impl UniqueTexts {
    /// Takes `base`, or else what `numbered` makes of it and the first number from 2 that is free.
    pub fn take(&mut self, base: &str, numbered: impl Fn(&str, u32) -> String) -> String {
        if self.reserve(base) {
            return base.to_owned();
        }
        let mut number = self.next.get(base).copied().unwrap_or(2);
        let text = loop {
            let text = numbered(base, number);
            number += 1;
            if self.reserve(&text) {
                break text;
            }
        };
        self.next.insert(base.to_owned(), number);
        text
    }

    /// Notes a text as taken. Returns false if it was taken before.
    pub fn reserve(&mut self, text: &str) -> bool {
        self.taken.insert(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn thousands_of_equal_texts_try_each_number_once() {
        let tries = Cell::new(0);
        let mut texts = UniqueTexts::default();
        texts.reserve("eng.3");
        let mut last = String::new();
        for _ in 0..1000 {
            last = texts.take("eng", |base, number| {
                tries.set(tries.get() + 1);
                format!("{base}.{number}")
            });
        }
        assert_eq!((last.as_str(), tries.get()), ("eng.1001", 1000));
    }
}
