//! Sums of numbers that are written as strings (`format: integer` or `number`): exact, of any length up to a bound.

use std::cmp::Ordering;

use super::Reason;

/// Most digits a number may take when it is written without an exponent.
const DIGITS_MAX: usize = 1024;

/// `digits`, most significant first, of which the last `scale` stand behind the point.
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    scale: usize,
}

/// The sum as a string. It has as many digits behind the point as the longer of the two, so that the order of sums does not
/// show; and no exponent.
pub(super) fn add(left: &str, right: &str) -> Result<String, Reason> {
    let (mut a, mut b) = (Decimal::read(left)?, Decimal::read(right)?);
    let scale = a.scale.max(b.scale);
    let whole = (a.digits.len() - a.scale).max(b.digits.len() - b.scale);
    // One digit more, for what is carried.
    a.align(whole + 1, scale);
    b.align(whole + 1, scale);
    if a.negative != b.negative && a.digits.cmp(&b.digits) == Ordering::Less {
        std::mem::swap(&mut a, &mut b);
    }
    let mut carry = 0;
    for (a_digit, b_digit) in a.digits.iter_mut().zip(&b.digits).rev() {
        if a.negative == b.negative {
            let sum = *a_digit + b_digit + carry;
            (*a_digit, carry) = (sum % 10, sum / 10);
        } else {
            let difference = *a_digit + 10 - b_digit - carry;
            (*a_digit, carry) = (difference % 10, u8::from(difference < 10));
        }
    }
    a.written()
}

/// Whether a string is such a number.
pub(crate) fn is_number(text: &str) -> bool {
    Decimal::read(text).is_ok()
}

impl Decimal {
    fn read(text: &str) -> Result<Decimal, Reason> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().map_err(|_| Reason::Sum)?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = whole.bytes().chain(fraction.bytes());
        if mantissa.len() > DIGITS_MAX {
            return Err(Reason::Overflow);
        }
        if whole.is_empty() || mantissa.ends_with('.') || !digits.clone().all(|byte| byte.is_ascii_digit()) {
            return Err(Reason::Sum);
        }
        let mut digits: Vec<u8> = digits.map(|byte| byte - b'0').collect();
        let bound = DIGITS_MAX as i64;
        if !(-bound..=bound).contains(&exponent) {
            return Err(Reason::Overflow);
        }
        let scale = fraction.len() as i64 - exponent;
        if scale < 0 {
            digits.resize(digits.len() + scale.unsigned_abs() as usize, 0);
        }
        let mut read = Decimal { negative, digits, scale: scale.max(0) as usize };
        if read.digits.len() <= read.scale {
            read.align(1, read.scale);
        }
        if read.digits.len() > DIGITS_MAX { Err(Reason::Overflow) } else { Ok(read) }
    }

    /// Adds zeros on both sides, to so many digits before the point and behind it.
    fn align(&mut self, whole: usize, scale: usize) {
        self.digits.resize(self.digits.len() + scale - self.scale, 0);
        self.scale = scale;
        let missing = (whole + scale).saturating_sub(self.digits.len());
        self.digits.splice(0..0, std::iter::repeat_n(0, missing));
    }

    fn written(&self) -> Result<String, Reason> {
        let whole = self.digits.len() - self.scale;
        let zeros = self.digits[..whole - 1].iter().take_while(|digit| **digit == 0).count();
        let shown = &self.digits[zeros..];
        if shown.len() > DIGITS_MAX {
            return Err(Reason::Overflow);
        }
        let mut text = String::with_capacity(shown.len() + 2);
        if self.negative && shown.iter().any(|digit| *digit != 0) {
            text.push('-');
        }
        for (at, digit) in shown.iter().enumerate() {
            if at == shown.len() - self.scale {
                text.push('.');
            }
            text.push(char::from(b'0' + digit));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        let nines = "9".repeat(DIGITS_MAX);
        for (a, b, expect) in [
            ("1", "2", Ok("3")),
            ("99999999999999999999", "1", Ok("100000000000000000000")),
            ("0.1", "0.2", Ok("0.3")),
            ("1.50", "2.5", Ok("4.00")),
            ("-5", "5", Ok("0")),
            ("-0.5", "0.25", Ok("-0.25")),
            ("5", "-7.5", Ok("-2.5")),
            ("-3", "-4", Ok("-7")),
            ("+007", "1", Ok("8")),
            ("1e3", "1E-3", Ok("1000.001")),
            ("12.5e1", "0", Ok("125")),
            ("100", "-99.99", Ok("0.01")),
            ("", "1", Err(Reason::Sum)),
            ("1.", "1", Err(Reason::Sum)),
            (".5", "1", Err(Reason::Sum)),
            ("1", "--1", Err(Reason::Sum)),
            ("1", "é", Err(Reason::Sum)),
            ("1e5000", "1", Err(Reason::Overflow)),
            ("1e1024", "1", Err(Reason::Overflow)),
            (&nines, "1", Err(Reason::Overflow)),
            (&nines, "0", Ok(nines.as_str())),
        ] {
            assert_eq!(add(a, b), expect.map(str::to_owned), "{a} {b}");
            assert_eq!(add(b, a), expect.map(str::to_owned), "{b} {a}");
        }
    }

    #[test]
    fn sums_are_those_of_integers() {
        let numbers = [0i64, 1, -1, 9, 10, -10, 99, 101, -999, 1000, 123_456_789, -987_654_321];
        for a in numbers {
            for b in numbers {
                assert_eq!(add(&a.to_string(), &b.to_string()), Ok((a + b).to_string()));
            }
        }
    }
}
