//! Checks of the values of flags. A wrong one is wrong usage.

use crate::config::{HttpBind, LogLevel};

/// Port of an address without one, for the check alone.
const ANY_PORT: u16 = 1;

pub(super) fn address(typed: &str) -> Result<String, String> {
    HttpBind::parse(typed, ANY_PORT).map(|_| typed.to_owned())
}

pub(super) fn serving_address(typed: &str) -> Result<String, String> {
    match HttpBind::parse(typed, ANY_PORT)? {
        HttpBind::Off => Err("`serve` does nothing without HTTP; give an address".to_owned()),
        HttpBind::At { .. } => Ok(typed.to_owned()),
    }
}

pub(super) fn level(typed: &str) -> Result<String, String> {
    match LogLevel::parse(typed) {
        Some(_) => Ok(typed.to_owned()),
        None => Err("choose debug, info, warning or error".to_owned()),
    }
}

pub(super) fn store(typed: &str) -> Result<String, String> {
    let is_directory = typed
        .strip_prefix("local:")
        .is_some_and(|dir| !dir.is_empty());
    match is_directory || typed.eq_ignore_ascii_case("telegram") {
        true => Ok(typed.to_owned()),
        false => Err("write local:DIR or telegram".to_owned()),
    }
}

/// Checks the base URL, and cuts a slash at its end.
pub(super) fn base_url(typed: &str) -> Result<String, String> {
    let base = typed.trim_end_matches('/');
    let host = base
        .strip_prefix("http://")
        .or_else(|| base.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() && !base.contains(char::is_whitespace) => {
            Ok(base.to_owned())
        }
        _ => Err(
            "give the address at which players reach this machine, e.g. http://192.168.1.5:8080"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_a_url_of_this_machine() {
        assert_eq!(base_url("http://nas:8080/").unwrap(), "http://nas:8080");
        for typed in ["nas:8080", "http://", "ftp://nas", "http://a b"] {
            assert!(base_url(typed).unwrap_err().contains("http://192"));
        }
    }
}
