//! Text as Python's `json` writes it, and hexadecimal, appended to bytes.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Append bytes in hexadecimal.
pub fn push_hex(out: &mut Vec<u8>, data: &[u8]) {
    out.extend(
        data.iter()
            .flat_map(|&byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
    );
}

/// Append a JSON string, as `json.dumps(text, ensure_ascii=False)` has it.
pub fn quote(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.extend_from_slice(text.as_bytes());
    } else {
        text.chars().for_each(|each| push_escaped(out, each));
    }
    out.push(b'"');
}

/// Append a JSON string of ASCII alone, as `json.dumps(text)` has it.
pub fn quote_ascii(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\') {
        out.extend_from_slice(text.as_bytes());
    } else {
        for each in text.chars() {
            if each < '\x7f' {
                push_escaped(out, each);
            } else {
                each.encode_utf16(&mut [0; 2]).iter().for_each(|&unit| push_unit(out, unit));
            }
        }
    }
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, each: char) {
    match each {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\x08' => out.extend_from_slice(b"\\b"),
        '\x0c' => out.extend_from_slice(b"\\f"),
        control if control < ' ' => push_unit(out, control as u16),
        other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn push_unit(out: &mut Vec<u8>, unit: u16) {
    out.extend_from_slice(b"\\u");
    push_hex(out, &unit.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_python_does() {
        let text = "a\"\\/\n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}é\u{2028}\u{1f600}";
        let escaped = r#""a\"\\/\n\r\t\b\f\u0000\u001f"#;
        let mut quoted = Vec::new();
        quote(&mut quoted, text);
        assert_eq!(quoted, format!("{escaped}\u{7f}é\u{2028}\u{1f600}\"").as_bytes());
        let mut ascii = Vec::new();
        quote_ascii(&mut ascii, text);
        assert_eq!(ascii, format!(r#"{escaped}\u007f\u00e9\u2028\ud83d\ude00""#).as_bytes());
    }
}
