//! Text as Python's `json` writes it, and hexadecimal.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Append bytes in hexadecimal.
pub fn push_hex(text: &mut String, data: &[u8]) {
    for &byte in data {
        text.push(DIGITS[usize::from(byte >> 4)].into());
        text.push(DIGITS[usize::from(byte & 15)].into());
    }
}

/// A JSON string, as `json.dumps(text, ensure_ascii=False)` has it.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        quoted.push_str(text);
    } else {
        text.chars().for_each(|each| push_escaped(&mut quoted, each));
    }
    quoted.push('"');
    quoted
}

/// Append a JSON string of ASCII alone, as `json.dumps(text)` has it.
pub fn quote_ascii(out: &mut String, text: &str) {
    out.push('"');
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\') {
        out.push_str(text);
    } else {
        for each in text.chars() {
            if each < '\x7f' {
                push_escaped(out, each);
            } else {
                each.encode_utf16(&mut [0; 2]).iter().for_each(|&unit| push_unit(out, unit));
            }
        }
    }
    out.push('"');
}

fn push_escaped(out: &mut String, each: char) {
    match each {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        control if control < ' ' => push_unit(out, control as u16),
        other => out.push(other),
    }
}

fn push_unit(out: &mut String, unit: u16) {
    out.push_str("\\u");
    push_hex(out, &unit.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_python_does() {
        let text = "a\"\\/\n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}é\u{2028}\u{1f600}";
        let escaped = r#""a\"\\/\n\r\t\b\f\u0000\u001f"#;
        assert_eq!(quote(text), format!("{escaped}\u{7f}é\u{2028}\u{1f600}\""));
        let mut ascii = String::new();
        quote_ascii(&mut ascii, text);
        assert_eq!(ascii, format!(r#"{escaped}\u007f\u00e9\u2028\ud83d\ude00""#));
    }
}
