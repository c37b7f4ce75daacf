//! Words about the stored version that an incomplete one took the place of.

use std::time::Duration;

/// Returns what a user should know about the version before: its data is in the store for `keep`, counted
/// from the change. It stays longer while no manifest can say that the file has other bytes now.
pub fn remark(keep: Duration) -> String {
    format!(
        "the data of the version before is still in the store, and is not deleted for {} from now \
         (TGFS_KEEP_DELETED; raise it to keep the data longer)",
        in_words(keep)
    )
}

fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..=119 => format!("{seconds} seconds"),
        120..=7199 => format!("{} minutes", seconds / 60),
        _ => format!("{} hours", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_never_said_longer_than_it_is() {
        let words = |seconds| in_words(Duration::from_secs(seconds));
        assert_eq!(words(0), "0 seconds");
        assert_eq!(words(7199), "119 minutes");
        assert_eq!(words(86_400), "24 hours");
    }
}
