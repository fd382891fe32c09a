//! Every way in which `argus` ends, as a number that scripts may rely on.

/// The exit codes. `plan --detailed-exitcode`, `drift --detailed-exitcode` and `diff` use [`ExitCode::Differences`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything went well; with `--detailed-exitcode`, and nothing differs.
    Done = 0,
    /// Something failed, or part of the input cannot be understood. Of `diff`: there are differences. Of `policy test
    /// --fail-on-warn`: there are warnings.
    Failed = 1,
    /// With `--detailed-exitcode`: there are changes, or there is drift. Of `diff`: something failed. Of `policy test
    /// --fail-on-warn`: tests failed.
    Differences = 2,
    /// A policy denies the plan.
    Denied = 3,
    /// The plan waits: for people to agree, or for a brake to come off.
    Held = 4,
    /// The plan is stale: a row that it touches, or a rule, has moved since.
    Stale = 5,
    /// Somebody else holds the lock.
    Locked = 6,
    /// The audit, or an export of it, is not what was sealed.
    Tampered = 7,
}

impl ExitCode {
    /// How a command line ends that is not understood, or only asks for help: never with what scripts take for a
    /// difference.
    pub fn of_usage(is_wrong: bool, command: Option<&str>) -> ExitCode {
        match (is_wrong, command) {
            (false, _) => ExitCode::Done,
            // Of `diff`, 1 says that there are differences.
            (true, Some("diff")) => ExitCode::Differences,
            (true, _) => ExitCode::Failed,
        }
    }

    /// In one word, for metrics.
    pub fn word(self) -> &'static str {
        match self {
            ExitCode::Done | ExitCode::Differences => "succeeded",
            ExitCode::Failed => "failed",
            ExitCode::Denied => "denied",
            ExitCode::Held => "held",
            ExitCode::Stale => "stale",
            ExitCode::Locked => "locked",
            ExitCode::Tampered => "tampered",
        }
    }

    /// The table that `--help` shows.
    pub const HELP: &'static str = "\
Exit codes:
  0  done; with --detailed-exitcode: and nothing differs
  1  failed, wholly or in part, or the command line is wrong (of diff: there are differences)
  2  with --detailed-exitcode: there are changes, or there is drift (of diff: failed, or the command line is wrong)
     of policy test --fail-on-warn: 1 warnings, 2 failures
  3  of apply, rollback and policy eval --fail: denied by a policy; nothing of that organization was written
  4  held until somebody approves (`argus approve`), or stopped by a window, a suspension or a rollback
  5  stale: a row that the plan touches has moved since, or the rules of a saved plan have; nothing of it was written
  6  locked: another run of the same source is under way
  7  of audit verify and audit prune: the audit, or an export of it, is not what was sealed";
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        std::process::ExitCode::from(code as u8)
    }
}
