//! Commits as they are signed: the header taken apart byte by byte, so that nothing counts as a signature that stands
//! anywhere else, and nothing stands outside of what is signed.

use crate::signature::Fault;

/// How a signature begins, and how any of them does.
const SIGNATURE: &[u8] = b"gpgsig ";
const ANY_SIGNATURE: &[u8] = b"gpgsig";

/// A commit taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// What is signed.
    pub payload: Vec<u8>,
    /// The signature; empty if there is none.
    pub signature: Vec<u8>,
}

/// Takes a commit apart.
pub fn taken_apart(commit: &[u8]) -> Result<Parts, Fault> {
    if commit.contains(&0) {
        return Err(Fault::Garbled("the commit holds a byte that most programs take for its end".into()));
    }
    let mut parts = Parts::default();
    let (mut in_header, mut in_signature) = (true, false);
    for line in commit.split_inclusive(|byte| *byte == b'\n') {
        in_header &= line != b"\n";
        if in_header && in_signature && line.starts_with(b" ") {
            parts.signature.extend_from_slice(&line[1..]);
            continue;
        }
        in_signature = in_header && line.starts_with(SIGNATURE);
        if in_signature {
            if !parts.signature.is_empty() {
                return Err(Fault::Garbled("the commit has more than one".into()));
            }
            parts.signature.extend_from_slice(&line[SIGNATURE.len()..]);
        } else if in_header && line.starts_with(ANY_SIGNATURE) {
            return Err(Fault::Garbled("the commit has one more under another name".into()));
        } else {
            parts.payload.extend_from_slice(line);
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "tree 1\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n";

    fn apart(text: &str) -> Result<(String, String), Fault> {
        let utf8 = |bytes| String::from_utf8(bytes).expect("UTF-8");
        taken_apart(text.as_bytes()).map(|Parts { payload, signature }| (utf8(payload), utf8(signature)))
    }

    #[test]
    fn what_is_signed_is_all_but_the_signature() {
        let signed = format!("{HEADER}gpgsig one\n two\n three\nencoding x\n\nSubject\n\n gpgsig no\n");
        let payload = format!("{HEADER}encoding x\n\nSubject\n\n gpgsig no\n");
        assert_eq!(apart(&signed), Ok((payload, "one\ntwo\nthree\n".into())));
    }

    #[test]
    fn a_signature_in_the_message_is_none() {
        for message in ["gpgsig one\n two\n", "Subject\ngpgsig one\n two\n"] {
            let text = format!("{HEADER}\n{message}");
            assert_eq!(apart(&text), Ok((text.clone(), String::new())));
        }
    }

    #[test]
    fn what_programs_may_read_otherwise_is_refused() {
        for text in [
            format!("{HEADER}gpgsig one\ngpgsig two\n\nSubject\n"),
            format!("{HEADER}gpgsig-sha256 one\n\nSubject\n"),
            format!("{HEADER}gpgsigencoding x\n\nSubject\n"),
            format!("{HEADER}gpgsig one\n\nSubject\0 and more\n"),
        ] {
            assert!(matches!(apart(&text), Err(Fault::Garbled(_))), "{text}");
        }
    }
}
