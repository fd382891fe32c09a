//! Exact money: whole minor units and an ISO 4217 code, written `250 USD`.

use std::fmt;

/// The currencies that a budget may be in, with the digits of their minor unit (ISO 4217).
pub const CURRENCIES: &[(&str, u32)] = &[
    ("AED", 2),
    ("ARS", 2),
    ("AUD", 2),
    ("BGN", 2),
    ("BHD", 3),
    ("BRL", 2),
    ("CAD", 2),
    ("CHF", 2),
    ("CLP", 0),
    ("CNY", 2),
    ("COP", 2),
    ("CZK", 2),
    ("DKK", 2),
    ("EGP", 2),
    ("EUR", 2),
    ("GBP", 2),
    ("HKD", 2),
    ("HUF", 2),
    ("IDR", 2),
    ("ILS", 2),
    ("INR", 2),
    ("ISK", 0),
    ("JOD", 3),
    ("JPY", 0),
    ("KES", 2),
    ("KRW", 0),
    ("KWD", 3),
    ("MAD", 2),
    ("MXN", 2),
    ("MYR", 2),
    ("NGN", 2),
    ("NOK", 2),
    ("NZD", 2),
    ("OMR", 3),
    ("PEN", 2),
    ("PHP", 2),
    ("PKR", 2),
    ("PLN", 2),
    ("QAR", 2),
    ("RON", 2),
    ("RSD", 2),
    ("SAR", 2),
    ("SEK", 2),
    ("SGD", 2),
    ("THB", 2),
    ("TND", 3),
    ("TRY", 2),
    ("TWD", 2),
    ("UAH", 2),
    ("USD", 2),
    ("UYU", 2),
    ("VND", 0),
    ("ZAR", 2),
];

/// The most that one amount may be, in minor units: large enough for a platform, far from overflow.
pub const MINOR_UNITS_MAX: i64 = 1_000_000_000_000_000;

/// An amount of money, never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// Whole minor units (cents).
    pub minor: i64,
    /// The ISO 4217 code.
    pub currency: &'static str,
}

impl Money {
    /// Reads `250 USD` or `0.5 EUR`; says in words what is wrong with anything else.
    pub fn parse(text: &str) -> Result<Money, String> {
        let (amount, code) =
            text.split_once(' ').ok_or("money is an amount, one space and a currency, as in `250 USD`")?;
        if amount.is_empty() || code.starts_with(' ') || code.is_empty() {
            return Err("money is an amount, one space and a currency, as in `250 USD`".into());
        }
        let Some(&(currency, digits)) = CURRENCIES.iter().find(|(known, _)| *known == code) else {
            return Err(format!("`{code}` is no known ISO 4217 currency code"));
        };
        Money::from_decimal(amount, digits).map(|minor| Money { minor, currency })
    }

    /// The money of a row; none if the currency is unknown.
    pub fn from_minor(minor: i64, code: &str) -> Option<Money> {
        let &(currency, _) = CURRENCIES.iter().find(|(known, _)| *known == code)?;
        Some(Money { minor, currency })
    }

    fn digits(self) -> u32 {
        CURRENCIES.iter().find(|(known, _)| *known == self.currency).map_or(2, |(_, digits)| *digits)
    }

    fn from_decimal(amount: &str, digits: u32) -> Result<i64, String> {
        let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !plain(whole) || !plain(fraction) || amount.ends_with('.') {
            return Err(format!("`{amount}` is no amount: digits, and at most one point, without sign or exponent"));
        }
        if whole.len() > 1 && whole.starts_with('0') {
            return Err(format!("`{amount}` starts with a zero"));
        }
        if fraction.len() > digits as usize {
            return Err(format!("`{amount}` is finer than the currency's minor unit ({digits} digits)"));
        }
        let padded = format!("{whole}{fraction:0<width$}", width = digits as usize);
        padded
            .parse::<i64>()
            .ok()
            .filter(|minor| *minor <= MINOR_UNITS_MAX)
            .ok_or_else(|| format!("`{amount}` is beyond the largest amount"))
    }
}

impl fmt::Display for Money {
    /// Without a fraction where it is zero, with all of its digits elsewhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits();
        let unit = 10_i64.pow(digits);
        let (whole, fraction) = (self.minor / unit, self.minor % unit);
        match fraction {
            0 => write!(f, "{whole} {}", self.currency),
            _ => write!(f, "{whole}.{fraction:0width$} {}", self.currency, width = digits as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_to_the_minor_unit_and_prints_what_it_read() {
        for (text, minor, shown) in [
            ("250 USD", 25_000, "250 USD"),
            ("0.5 EUR", 50, "0.50 EUR"),
            ("12.05 USD", 1_205, "12.05 USD"),
            ("7 JPY", 7, "7 JPY"),
            ("1.005 KWD", 1_005, "1.005 KWD"),
        ] {
            let money = Money::parse(text).expect(text);
            assert_eq!((money.minor, money.to_string().as_str()), (minor, shown));
        }
    }

    #[test]
    fn what_is_no_money_is_refused() {
        for text in [
            "-1 USD",
            "NaN USD",
            "1e3 USD",
            "1.001 USD",
            "1.5 JPY",
            "250",
            "250USD",
            "250 usd",
            "01 USD",
            ".5 USD",
            "5. USD",
            "inf USD",
            "99999999999999999999 USD",
            "10000000000000.01 USD",
            "1  USD",
            "1 XXX",
            "",
        ] {
            assert!(Money::parse(text).is_err(), "{text} was read as money");
        }
    }
}
