//! The path in a `file:` URI. Only its name is shown and looked at; documents are known by their URIs.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use lsp_types::Uri;

/// The path that a URI names; a URI of another kind is taken for one.
pub fn path(uri: &str) -> PathBuf {
    let rest = uri.strip_prefix("file:").unwrap_or(uri);
    // What follows `//` up to the next `/` is a host.
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => rest,
    };
    let mut bytes = Vec::with_capacity(path.len());
    let mut left = path.as_bytes();
    while let Some((&byte, rest)) = left.split_first() {
        let code = (byte == b'%').then(|| rest.get(..2)).flatten().and_then(hex);
        bytes.push(code.unwrap_or(byte));
        left = if code.is_some() { &rest[2..] } else { rest };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The `file:` URI of an absolute path.
pub fn of(path: &Path) -> Option<Uri> {
    use std::os::unix::ffi::OsStrExt;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    let bytes = path.as_os_str().as_bytes().iter();
    let escaped = bytes.map(|byte| match plain(*byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    format!("file://{}", escaped.collect::<String>()).parse().ok()
}

fn hex(digits: &[u8]) -> Option<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(value(digits[0])? * 16 + value(digits[1])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris_and_paths_again() {
        for name in ["/a b/é.yaml", "/50%/#?"] {
            assert_eq!(path(of(Path::new(name)).unwrap().as_str()), PathBuf::from(name));
        }
    }

    #[test]
    fn uris_become_paths() {
        let cases = [
            ("file:///a/b.yaml", "/a/b.yaml"),
            ("file://localhost/a", "/a"),
            ("file:/a", "/a"),
            ("file:///a%20b/%C3%A9.yaml", "/a b/é.yaml"),
            ("file:///50%", "/50%"),
            ("file:///%zz", "/%zz"),
            ("untitled:Untitled-1", "untitled:Untitled-1"),
        ];
        for (uri, expect) in cases {
            assert_eq!(path(uri), PathBuf::from(expect), "{uri}");
        }
    }
}
