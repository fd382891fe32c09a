//! What sorts of objects there are: those that say what organizations should be, and those that name repositories.

use std::fmt;

use crate::model::kind::{Kind, KindId};

/// The name of the objects that name repositories.
const GIT_SOURCE: (&str, &str) = ("GitSource", "gitsources");

/// A sort of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A kind of manifests.
    Kind(KindId),
    /// A repository.
    GitSource,
}

impl From<KindId> for Sort {
    fn from(kind: KindId) -> Self {
        Sort::Kind(kind)
    }
}

impl Sort {
    /// The sort of this name, in the singular.
    pub fn named(name: &str) -> Option<Sort> {
        match name == GIT_SOURCE.0 {
            true => Some(Sort::GitSource),
            false => Kind::named(name).map(|kind| Sort::Kind(KindId::of(kind))),
        }
    }

    /// Its name, in the singular.
    pub fn name(self) -> &'static str {
        match self {
            Sort::Kind(kind) => kind.get().name,
            Sort::GitSource => GIT_SOURCE.0,
        }
    }

    /// How it is called in addresses.
    pub fn plural(self) -> String {
        match self {
            Sort::Kind(kind) => kind.get().plural.to_lowercase(),
            Sort::GitSource => GIT_SOURCE.1.into(),
        }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
