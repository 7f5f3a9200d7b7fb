//! Numbers as JavaScript writes and reads them.

use std::fmt::Write as _;

use doc::Node;

use super::GiveUp;
use super::text::trim;

/// Integers up to here are exact in floating point: 2^53.
const EXACT_MAX: u64 = 1 << 53;
/// From here on JavaScript writes an exponent.
const EXPONENT_FROM: f64 = 1e21;
/// Decimal digits that always fit 64 bits.
const DIGITS_EXACT: usize = 18;
/// Decimal digits that floating point always holds exactly.
const DIGITS_PLAIN: usize = 15;

/// Appends a number as `Number.prototype.toString` writes it.
pub(super) fn write(number: f64, out: &mut String) {
    let written = if number.is_nan() {
        out.push_str("NaN");
        Ok(())
    } else if number.is_infinite() {
        out.push_str(if number > 0.0 { "Infinity" } else { "-Infinity" });
        Ok(())
    } else if number == 0.0 {
        out.push('0');
        Ok(())
    } else if (1e-6..EXPONENT_FROM).contains(&number.abs()) {
        // The shortest digits, and zeros up to the point.
        write!(out, "{number}")
    } else {
        let digits = format!("{number:e}");
        match digits.split_once('e') {
            Some((mantissa, exponent)) if !exponent.starts_with('-') => write!(out, "{mantissa}e+{exponent}"),
            _ => out.write_str(&digits),
        }
    };
    written.expect("memory takes any text");
}

/// A number as it is read again from what `JSON.stringify` writes; `Err` where that depends on the text around it.
pub(super) fn node(number: f64) -> Result<Node<'static>, GiveUp> {
    if !number.is_finite() {
        return Ok(Node::Null);
    }
    if number.fract() != 0.0 || number.abs() >= EXPONENT_FROM {
        return Ok(Node::F64(number));
    }
    if number.abs() <= EXACT_MAX as f64 {
        return Ok(Node::integer(number as i64));
    }
    // The shortest digits and zeros behind them, which is another integer than the one of all digits.
    let mut text = String::new();
    write(number, &mut text);
    if text.trim_start_matches('-').len() > DIGITS_EXACT {
        return Err(GiveUp);
    }
    text.parse().map(Node::integer).map_err(|_| GiveUp)
}

/// Whether a number of a document comes back from JavaScript as it is.
pub(super) fn stays(node: Node<'_>) -> bool {
    match node {
        Node::U64(value) => value <= EXACT_MAX,
        Node::I64(value) => value.unsigned_abs() <= EXACT_MAX,
        Node::F64(value) => value.fract() != 0.0 || value.abs() >= EXPONENT_FROM,
        _ => true,
    }
}

/// What `Number` makes of a string.
pub(super) fn of_text(text: &str) -> Result<f64, GiveUp> {
    let text = trim(text);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    match digits.as_bytes() {
        [] if text.is_empty() => Ok(0.0),
        b"Infinity" => Ok(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY }),
        // Of another base.
        [b'0', b'x' | b'X' | b'o' | b'O' | b'b' | b'B', ..] => Err(GiveUp),
        bytes if is_decimal(bytes) => Ok(text.parse().unwrap_or(f64::NAN)),
        _ => Ok(f64::NAN),
    }
}

/// Digits, with a point among or beside them, and an exponent or none.
fn is_decimal(bytes: &[u8]) -> bool {
    let run = |from: usize| from + bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut at = run(0);
    let mut digits = at;
    if bytes.get(at) == Some(&b'.') {
        let end = run(at + 1);
        digits += end - at - 1;
        at = end;
    }
    if digits == 0 {
        return false;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        let end = run(at.min(bytes.len()));
        if end == at {
            return false;
        }
        at = end;
    }
    at == bytes.len()
}

/// `parseInt` of a string, in base ten.
pub(super) fn parse_int(text: &str) -> Result<f64, GiveUp> {
    let text = trim(text);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.starts_with("0x") || digits.starts_with("0X") {
        return Err(GiveUp);
    }
    let end = digits.bytes().take_while(u8::is_ascii_digit).count();
    match end {
        0 => Ok(f64::NAN),
        1..=DIGITS_PLAIN => {
            let value: f64 = digits[..end].parse().map_err(|_| GiveUp)?;
            Ok(if text.starts_with('-') { -value } else { value })
        }
        _ => Err(GiveUp),
    }
}

/// The 32 bits that bitwise operators see.
pub(super) fn to_u32(number: f64) -> u32 {
    const TWO_32: f64 = 4_294_967_296.0;
    if !number.is_finite() {
        return 0;
    }
    let wrapped = number.trunc() % TWO_32;
    (if wrapped < 0.0 { wrapped + TWO_32 } else { wrapped }) as u32
}

/// `Math.round`: halves go up.
pub(super) fn round(number: f64) -> f64 {
    let floor = number.floor();
    (if number - floor >= 0.5 { floor + 1.0 } else { floor }).copysign(number)
}

/// `Math.max`, or `Math.min` of two: nothing is larger than what is no number, and zero is larger than minus zero.
pub(super) fn extreme(max: bool, a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        return f64::NAN;
    }
    let a_first = if a == b { a.is_sign_positive() } else { a > b };
    if a_first == max { a } else { b }
}

/// A place in something so long that an argument such as `-2` means, counted from the end.
pub(super) fn position(number: f64, length: usize) -> usize {
    if number.is_nan() {
        return 0;
    }
    let from = number.trunc();
    let at = if from < 0.0 { from + length as f64 } else { from };
    at.clamp(0.0, length as f64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_javascript_does() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (-1.5, "-1.5"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.25e-7, "1.25e-7"),
            (0.000001, "0.000001"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (9223372036854775808.0, "9223372036854776000"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            let mut out = String::new();
            write(number, &mut out);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn read_as_javascript_does() {
        for (text, number) in [
            ("", 0.0),
            (" 1 ", 1.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("-1e3", -1000.0),
            ("\u{feff}7", 7.0),
            ("-Infinity", f64::NEG_INFINITY),
        ] {
            assert_eq!(of_text(text).ok(), Some(number), "{text}");
        }
        for text in [".", "1e", "1_0", "e1", "+", "1 2", "inf", "nan", "\u{85}1", "--1"] {
            assert!(of_text(text).is_ok_and(f64::is_nan), "{text}");
        }
        assert!(of_text("0x10").is_err());
    }

    #[test]
    fn rounding_goes_up() {
        for (number, rounded) in
            [(2.5, 3.0), (-2.5, -2.0), (0.49999999999999994, 0.0), (4503599627370497.0, 4503599627370497.0)]
        {
            assert_eq!(round(number), rounded);
        }
        assert!(round(-0.2).is_sign_negative());
        assert_eq!((to_u32(-1.0), to_u32(4294967297.5), to_u32(f64::NAN)), (u32::MAX, 1, 0));
    }
}
