//! `host:port` in one text, as the driver's functions take it (spec/03-network.md §2).

use std::net::{Ipv4Addr, Ipv6Addr};

/// Why a text is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressError {
    /// No port, or a bracket that is not closed.
    Address,
    /// The port is no number up to 65535.
    Port,
}

/// The host and the port of `text`.
pub(super) fn split(text: &[u8]) -> Result<(&[u8], u16), AddressError> {
    let position = |bytes: &[u8], wanted: u8| bytes.iter().position(|&byte| byte == wanted);
    let (host, rest) = match position(text, b'[') {
        Some(open) => {
            let inner = &text[open + 1..];
            let close = position(inner, b']').ok_or(AddressError::Address)?;
            let rest = &inner[close + 1..];
            let colon = position(rest, b':').ok_or(AddressError::Address)?;
            (&inner[..close], &rest[colon + 1..])
        }
        None => {
            let colon = position(text, b':').ok_or(AddressError::Address)?;
            (&text[..colon], &text[colon + 1..])
        }
    };
    let digits = rest.trim_ascii_start();
    let digits = digits.strip_prefix(b"+").unwrap_or(digits);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(AddressError::Port);
    }
    let port = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(AddressError::Port)?;
    Ok((host, port))
}

/// The address and port in a UDP address blob.
pub(super) enum UdpAddress {
    V4(Ipv4Addr, u16),
    V6(Ipv6Addr, u16),
}

/// Reads a blob of 7 or 19 bytes.
pub(super) fn udp(blob: &[u8]) -> Option<UdpAddress> {
    let port = u16::from_be_bytes(blob.get(1..3)?.try_into().ok()?);
    let address = &blob[3..];
    if let Ok(v4) = <[u8; 4]>::try_from(address) {
        return Some(UdpAddress::V4(v4.into(), port));
    }
    let v6 = <[u8; 16]>::try_from(address).ok()?;
    Some(UdpAddress::V6(v6.into(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split_as_upstream_does() {
        let port = Err(AddressError::Port);
        let address = Err(AddressError::Address);
        for (text, result) in [
            ("127.0.0.1:80", Ok(("127.0.0.1", 80))),
            ("[::1]:80", Ok(("::1", 80))),
            ("host:65535", Ok(("host", 65535))),
            ("h:0", Ok(("h", 0))),
            ("h: 80", Ok(("h", 80))),
            ("h:+80", Ok(("h", 80))),
            ("x[::1]:90", Ok(("::1", 90))),
            ("[fe80::1%25lo]:80", Ok(("fe80::1%25lo", 80))),
            ("h:65536", port),
            ("h:", port),
            ("h:-1", port),
            ("h:80x", port),
            ("[::1]:x", port),
            ("::1:80", port),
            ("a:b:80", port),
            ("h", address),
            ("[::1]", address),
            ("[::1", address),
            ("", address),
        ] {
            let result = result.map(|(host, port): (&str, u16)| (host.as_bytes(), port));
            assert_eq!(split(text.as_bytes()), result, "{text:?}");
        }
    }

    #[test]
    fn udp_blobs_have_7_or_19_bytes() {
        assert!(matches!(
            udp(b"\x01\x00\x50\x7f\0\0\x01"),
            Some(UdpAddress::V4(Ipv4Addr::LOCALHOST, 80))
        ));
        let mut v6 = [0; 19];
        v6[18] = 1;
        v6[1] = 1;
        assert!(matches!(
            udp(&v6),
            Some(UdpAddress::V6(Ipv6Addr::LOCALHOST, 256))
        ));
        assert!(udp(b"123456").is_none());
        assert!(udp(b"").is_none());
    }
}
