//! "Did you mean": the nearest of some known words. The only home of strsim.

/// How alike two words must be, from 0 to 1.
const LIKENESS_MIN: f64 = 0.75;

/// The longest word that is worth a comparison, in bytes.
const WORD_BYTES_MAX: usize = 100;

/// The known word that a person most likely meant, if one is near.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > WORD_BYTES_MAX {
        return None;
    }
    let lower = word.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in known {
        // Words of very different length cannot be near; skipping them keeps a long list of names cheap.
        if candidate.len().abs_diff(word.len()) > 3.max(word.len() / 2) {
            continue;
        }
        let likeness = if candidate.eq_ignore_ascii_case(word) {
            2.0
        } else {
            strsim::normalized_damerau_levenshtein(&lower, &candidate.to_lowercase())
                .max(strsim::jaro(&lower, &candidate.to_lowercase()) - 0.1)
        };
        if likeness >= LIKENESS_MIN && best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        let fields = ["displayName", "description", "tier", "status", "billingEmail", "members"];
        assert_eq!(nearest("displayname", fields), Some("displayName"));
        assert_eq!(nearest("desciption", fields), Some("description"));
        assert_eq!(nearest("member", fields), Some("members"));
        assert_eq!(nearest("teir", fields), Some("tier"));
        assert_eq!(nearest("zzz", fields), None);
        assert_eq!(nearest("", fields), None);
    }
}
