//! Addresses of the gateway as others see them, and addresses of clients.

use std::net::IpAddr;

/// Scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebScheme {
    Http,
    Https,
}

impl WebScheme {
    /// Returns the scheme as it stands in a URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Public address of the gateway (`PUBLIC_DOMAIN`): `[scheme://]host[:port][/path]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicAddress {
    /// `None` if the text names none.
    pub scheme: Option<WebScheme>,
    /// Host, with a port if there is one.
    pub authority: String,
    /// Path before those of the gateway: empty, or with a slash at its begin and none at its end.
    pub path: String,
}

impl PublicAddress {
    /// Parses an address.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (Some(WebScheme::Https), rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (Some(WebScheme::Http), rest)
        } else {
            (None, text)
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => (&rest[..at], rest[at..].trim_end_matches('/')),
            None => (rest, ""),
        };
        let is_host =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        let is_path = |name: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~');
            !name.is_empty() && name != "." && name != ".." && name.chars().all(plain)
        };
        if authority.is_empty() || !authority.chars().all(is_host) {
            return Err(format!(
                "{text:?} must be a host name, e.g. films.example.org, perhaps with a scheme, a port and a path: https://example.org:8443/films"
            ));
        }
        if !path.split('/').skip(1).all(is_path) {
            return Err(format!(
                "the path {path:?} must consist of letters, digits, `-`, `_`, `.` and `~`, e.g. /films"
            ));
        }
        Ok(Self {
            scheme,
            authority: authority.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Returns the URL of the gateway's root, without a slash at its end. `otherwise` is the scheme of an
    /// address that names none.
    #[must_use]
    pub fn base(&self, otherwise: WebScheme) -> String {
        let scheme = self.scheme.unwrap_or(otherwise).as_str();
        format!("{scheme}://{}{}", self.authority, self.path)
    }
}

/// Addresses with the same first bits: `192.168.1.7`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    bits: u32,
}

impl AddressRange {
    /// Parses an address, or an address with the number of bits that count.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is neither an address (127.0.0.1, ::1) nor a range (172.16.0.0/12, fd00::/8)"
            )
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = width(first);
        let bits = bits.unwrap_or(most);
        match bits <= most {
            true => Ok(Self { first, bits }),
            false => Err(wrong()),
        }
    }

    /// Returns whether an address is in the range. IPv4 in the form of IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        width(self.first) == width(address)
            && leading(self.first, self.bits) == leading(address, self.bits)
    }
}

const fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Returns the first `bits` of an address as a number.
fn leading(address: IpAddr, bits: u32) -> u128 {
    let number = match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    };
    number
        .checked_shr(width(address).saturating_sub(bits))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_has_scheme_host_port_and_path() {
        for (text, base) in [
            ("films.example", "http://films.example"),
            ("films.example/", "http://films.example"),
            ("https://films.example:8443/", "https://films.example:8443"),
            ("http://example.org/a/films/", "http://example.org/a/films"),
            ("[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
        ] {
            let address = PublicAddress::parse(text).unwrap();
            assert_eq!(address.base(WebScheme::Http), base, "{text}");
        }
        for text in [
            "", "https://", "ftp://x", "a b", "x/../y", "x//y", "x/a?b", "user@x", "x/%41",
        ] {
            assert!(PublicAddress::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_hold_their_addresses_and_no_others() {
        let holds = |range: &str, address: &str| {
            let range = AddressRange::parse(range).unwrap();
            range.contains(address.parse().unwrap())
        };
        assert!(holds("127.0.0.1", "127.0.0.1"));
        assert!(holds("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(!holds("127.0.0.1", "127.0.0.2"));
        assert!(!holds("127.0.0.1", "::1"));
        assert!(holds("172.16.0.0/12", "172.31.255.255"));
        assert!(!holds("172.16.0.0/12", "172.32.0.0"));
        assert!(holds("fd00::/8", "fd12::1"));
        assert!(!holds("fd00::/8", "fe80::1"));
        assert!(holds("0.0.0.0/0", "203.0.113.9"));
        for text in ["", "x", "127.0.0.1/33", "::1/129", "127.0.0.1/-1", "10/8"] {
            assert!(AddressRange::parse(text).is_err(), "{text}");
        }
    }
}
