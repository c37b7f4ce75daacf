//! The cookie of a session.

use http::HeaderMap;
use http::header::COOKIE;

/// Protection of a connection between browser and server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    Plain,
    Tls,
}

/// Time for which browsers keep the cookie, in seconds: the longest that they allow. The server ends idle
/// sessions itself.
const MAX_AGE: u32 = 400 * 24 * 3600;
/// Most cookies of our name that are looked at. A browser sends one, or two after a change of the address; a
/// stranger could send thousands, each of which is compared with all sessions.
const MAX_LOOKED_AT: usize = 4;

/// Returns the cookie's name. Browsers let no other host, and no page without TLS, set a name that begins
/// with `__Host-`.
const fn name(security: Security) -> &'static str {
    match security {
        Security::Plain => "tgfs",
        Security::Tls => "__Host-tgfs",
    }
}

/// Returns the values of the cookie in a request.
pub(super) fn values(headers: &HeaderMap, security: Security) -> impl Iterator<Item = &str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(key, _)| *key == name(security))
        .map(|(_, value)| value)
        .take(MAX_LOOKED_AT)
}

/// Returns the Set-Cookie header that keeps a session in the browser.
pub(super) fn set(value: &str, security: Security) -> String {
    with_age(value, security, MAX_AGE)
}

/// Returns the Set-Cookie header that removes the session from the browser.
pub(super) fn remove(security: Security) -> String {
    with_age("", security, 0)
}

fn with_age(value: &str, security: Security, age: u32) -> String {
    let secure = match security {
        Security::Plain => "",
        Security::Tls => "; Secure",
    };
    let name = name(security);
    format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_cookie_is_found_among_others_and_kept_from_scripts() {
        let mut headers = HeaderMap::new();
        headers.append(
            COOKIE,
            HeaderValue::from_static("a=1; tgfs=first; xtgfs=no"),
        );
        headers.append(
            COOKIE,
            HeaderValue::from_static("tgfs=second; __Host-tgfs=third"),
        );
        let found: Vec<_> = values(&headers, Security::Plain).collect();
        assert_eq!(found, ["first", "second"]);
        let found: Vec<_> = values(&headers, Security::Tls).collect();
        assert_eq!(found, ["third"]);
        let many = HeaderValue::try_from("tgfs=x; ".repeat(5000)).unwrap();
        headers.insert(COOKIE, many);
        assert_eq!(values(&headers, Security::Plain).count(), MAX_LOOKED_AT);
        let plain = set("x", Security::Plain);
        assert!(plain.starts_with("tgfs=x; Path=/; ") && !plain.contains("Secure"));
        let tls = set("x", Security::Tls);
        for part in [
            "__Host-tgfs=x",
            "Path=/",
            "HttpOnly",
            "SameSite=Strict",
            "Secure",
        ] {
            assert!(tls.split("; ").any(|one| one == part), "{tls}");
        }
        assert!(remove(Security::Plain).contains("Max-Age=0"));
    }
}
