//! What an API server of Kubernetes can see to by itself: the part of a kind's `check` that CEL can say.

/// A condition that the fields of a resource must fulfil together.
///
/// A value that is null counts as absent in CEL, as it does in `check`.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The expression. `self` is the mapping that holds the fields, and `{name}` stands for what identifies the
    /// resource.
    pub cel: &'static str,
    /// The field that it is told of; empty for the whole.
    pub at: &'static str,
    /// What is wrong where it does not hold, and what to do.
    pub message: &'static str,
    /// Whether something is missing where it does not hold.
    pub missing: bool,
}

impl Rule {
    /// Something disagrees where the expression does not hold.
    pub const fn new(cel: &'static str, at: &'static str, message: &'static str) -> Rule {
        Rule { cel, at, message, missing: false }
    }

    /// Something is missing where the expression does not hold.
    pub const fn needs(cel: &'static str, at: &'static str, message: &'static str) -> Rule {
        Rule { cel, at, message, missing: true }
    }

    /// Whether it is about the name of the resource.
    pub fn is_about_the_name(&self) -> bool {
        self.cel.contains("{name}")
    }
}
