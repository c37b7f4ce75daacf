//! Preconditions (RFC 9110 §13), which tell whether a client's copy is still valid.

use std::time::SystemTime;

use http::header::{
    IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, Method};

/// Result of a request's preconditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Proceed,
    /// 304
    NotModified,
    /// 412
    Failed,
}

/// Validators of the representation that would be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Validators<'a> {
    /// Strong, with its quotes.
    pub etag: &'a str,
    /// `None` if no time tells whether the bytes changed.
    pub times: Option<ModificationTimes>,
}

/// Times of a file's last change: `modified` is `mtime`, which Last-Modified shows and users may set to
/// any time; `changed` is `ctime`, the true one.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModificationTimes {
    pub modified: SystemTime,
    pub changed: SystemTime,
}

impl ModificationTimes {
    /// Returns whether a copy of `date` is still valid: `date` equals Last-Modified, or is later than any
    /// change.
    fn unchanged_since(self, date: SystemTime) -> bool {
        let date = whole_seconds(date);
        let (modified, changed) = (whole_seconds(self.modified), whole_seconds(self.changed));
        date == modified || date >= modified.max(changed)
    }
}

/// Evaluates the preconditions in the order of RFC 9110 §13.2.2.
pub(super) fn check(headers: &HeaderMap, validators: Validators<'_>) -> Verdict {
    if headers.contains_key(IF_MATCH) {
        if !any_tag(headers, IF_MATCH, |tag| tag == validators.etag) {
            return Verdict::Failed;
        }
    } else if let (Some(limit), Some(times)) =
        (date(headers, IF_UNMODIFIED_SINCE), validators.times)
        && !times.unchanged_since(limit)
    {
        return Verdict::Failed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        // Weak comparison ignores the prefix.
        let same = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag) == validators.etag;
        if any_tag(headers, IF_NONE_MATCH, same) {
            return Verdict::NotModified;
        }
    } else if let (Some(since), Some(times)) = (date(headers, IF_MODIFIED_SINCE), validators.times)
        && times.unchanged_since(since)
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Returns the Range header; `None` if the request is no GET (§14.2) or its If-Range names other bytes
/// (§13.1.5). A date in If-Range never matches, since users set times at will.
pub(super) fn range_of<'a>(
    method: &Method,
    headers: &'a HeaderMap,
    validators: Validators<'_>,
) -> Option<&'a [u8]> {
    if method != Method::GET {
        return None;
    }
    if let Some(condition) = headers.get(IF_RANGE)
        && condition.as_bytes().trim_ascii() != validators.etag.as_bytes()
    {
        return None;
    }
    headers.get(RANGE).map(http::HeaderValue::as_bytes)
}

fn any_tag(headers: &HeaderMap, name: http::HeaderName, matches: impl Fn(&str) -> bool) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || matches(tag))
}

fn date(headers: &HeaderMap, name: http::HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// Returns whole seconds since 1970, the precision of dates in headers.
fn whole_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    fn verdict(pairs: &[(http::HeaderName, &str)]) -> Verdict {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let times = Some(ModificationTimes {
            modified: SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_500),
            changed: SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000),
        });
        check(
            &headers,
            Validators {
                etag: "\"a\"",
                times,
            },
        )
    }

    #[test]
    fn preconditions_are_taken_in_order() {
        let at = |seconds| {
            httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
        };
        let (before, same) = (at(999_999), at(1_000_000));
        // The file was replaced by bytes with an older time. A copy that was fetched in between is out of
        // date.
        let (between, after) = (at(1_500_000), at(2_000_000));
        let table: &[(&[(http::HeaderName, &str)], Verdict)] = &[
            (&[], Verdict::Proceed),
            (&[(IF_NONE_MATCH, "\"a\"")], Verdict::NotModified),
            (&[(IF_NONE_MATCH, "W/\"a\"")], Verdict::NotModified),
            (&[(IF_NONE_MATCH, "\"b\", \"a\"")], Verdict::NotModified),
            (&[(IF_NONE_MATCH, "*")], Verdict::NotModified),
            (&[(IF_NONE_MATCH, "\"b\"")], Verdict::Proceed),
            (
                &[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, &same)],
                Verdict::Proceed,
            ),
            (&[(IF_MODIFIED_SINCE, &same)], Verdict::NotModified),
            (&[(IF_MODIFIED_SINCE, &before)], Verdict::Proceed),
            (&[(IF_MODIFIED_SINCE, &between)], Verdict::Proceed),
            (&[(IF_MODIFIED_SINCE, &after)], Verdict::NotModified),
            (&[(IF_MODIFIED_SINCE, "yesterday")], Verdict::Proceed),
            (&[(IF_MATCH, "\"a\"")], Verdict::Proceed),
            (&[(IF_MATCH, "W/\"a\"")], Verdict::Failed),
            (&[(IF_MATCH, "\"b\"")], Verdict::Failed),
            (&[(IF_UNMODIFIED_SINCE, &before)], Verdict::Failed),
            (&[(IF_UNMODIFIED_SINCE, &same)], Verdict::Proceed),
        ];
        for (pairs, expected) in table {
            assert_eq!(verdict(pairs), *expected, "{pairs:?}");
        }
    }

    #[test]
    fn if_range_takes_only_the_same_strong_tag() {
        let validators = Validators {
            etag: "\"a\"",
            times: None,
        };
        for (condition, kept) in [
            ("\"a\"", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, HeaderValue::from_static("bytes=0-1"));
            headers.insert(IF_RANGE, HeaderValue::from_str(condition).unwrap());
            assert_eq!(
                range_of(&Method::GET, &headers, validators).is_some(),
                kept,
                "{condition}"
            );
            assert_eq!(range_of(&Method::HEAD, &headers, validators), None);
        }
    }
}
