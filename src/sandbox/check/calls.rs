//! Functions: which ones are there, how many arguments they take, and which ones no policy may call.

use std::collections::BTreeSet;

use regorus::unstable::BUILTINS;

use crate::model::code::Code;
use crate::model::finding::Finding;
use crate::model::suggest;

/// What reaches outside, or gives another answer every time, and what to do instead.
const FORBIDDEN: &[(&str, &str)] = &[
    ("http.send", "whatever a rule needs to know must stand in the input"),
    ("net.lookup_ip_addr", "whatever a rule needs to know must stand in the input"),
    ("opa.runtime", "whatever a rule needs to know must stand in the input"),
    ("rand.intn", "the same input must give the same answer"),
    ("uuid.rfc4122", "the same input must give the same answer"),
    ("time.now_ns", "the time is `input.time`: `time.parse_rfc3339_ns(input.time)`"),
    ("io.jwt.decode_verify", "it looks at the clock, and at keys that may lie elsewhere"),
    ("providers.aws.sign_req", "no secret may reach a policy"),
    ("test.sleep", "tests do not wait"),
];

/// How many arguments a builtin takes; none where it is not known.
pub fn arity(name: &str) -> Option<usize> {
    match name {
        // It takes any number.
        "print" => Some(usize::MAX),
        _ => BUILTINS.get(name).map(|(_, arguments)| usize::from(*arguments)),
    }
}

/// Why nobody may call it, if that is so.
pub fn forbidden(name: &str) -> Option<Finding> {
    let (_, instead) = FORBIDDEN.iter().find(|(known, _)| *known == name)?;
    let message = format!("`{name}` is called, which no policy may do");
    Some(Finding::error(Code::ForbiddenBuiltin, message).hint(*instead))
}

/// The finding of a function that is not there; `near_by` are others that could be meant.
pub fn unknown<'a>(name: &str, near_by: impl Iterator<Item = &'a str>) -> Finding {
    let known: BTreeSet<&str> =
        BUILTINS.keys().copied().filter(|name| forbidden(name).is_none()).chain(near_by).collect();
    let finding = Finding::error(Code::BadPolicy, format!("there is no function `{name}`"));
    match suggest::nearest(name, known) {
        Some(near) => finding.hint(format!("did you mean `{near}`?")),
        None => finding.hint("not all that OPA has is here: what needs keys, networks or other languages is left out"),
    }
}

/// What is wrong with so many arguments: one more takes the result.
pub fn miscounted(name: &str, arity: usize, given: usize) -> Option<Finding> {
    if arity == usize::MAX || given == arity || given == arity + 1 {
        return None;
    }
    let arguments = if arity == 1 { "argument" } else { "arguments" };
    Some(Finding::error(Code::BadPolicy, format!("`{name}` takes {arity} {arguments}, and here are {given}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_builtin_that_reaches_outside_is_among_those_that_may_be_called() {
        for name in BUILTINS.keys().filter(|name| forbidden(name).is_none()) {
            let reaches = ["http", "lookup", "now", "rand", "uuid.rfc", "runtime", "sleep", "aws", "file", "env"];
            assert!(reaches.iter().all(|word| !name.contains(word)), "{name}");
        }
        assert!(arity("count") == Some(1) && arity("sprintf") == Some(2) && arity("http.send").is_none());
    }
}
