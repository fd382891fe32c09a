//! The stable codes of findings. Each has a page in `docs/codes`, which `argus explain` prints, and a fixture.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $about:literal])* $name:ident = $number:literal),* $(,)?) => {
        /// A stable code. A number is never used again for something else.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Code { $($(#[doc = $about])* $name = $number),* }

        impl Code {
            /// All codes, in order of their numbers.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The page that explains it, in Markdown.
            pub fn page(self) -> &'static str {
                match self {
                    $(Code::$name => include_str!(concat!("../../docs/codes/ARG", $number, ".md"))),*
                }
            }
        }
    };
}

codes! {
    // 10xx: reading files
    /// A file is larger than a manifest may be.
    FileTooLarge = 1001,
    /// A file is not UTF-8.
    NotUtf8 = 1002,
    /// A file is not YAML.
    Syntax = 1003,
    /// A key stands twice in one mapping.
    DuplicateKey = 1004,
    /// A tag changes what a value means.
    Tag = 1005,
    /// A merge key pulls in another mapping.
    MergeKey = 1006,
    /// Values are nested too deeply.
    TooDeep = 1007,
    /// A file holds too many values.
    TooManyValues = 1008,
    /// An alias has no anchor, or stands within its own.
    BadAlias = 1009,
    /// A character that cannot be seen or does not belong into text.
    BadCharacter = 1010,
    /// A document is no mapping.
    NotAMapping = 1011,
    /// A key is no text.
    BadKey = 1012,
    /// A file or directory cannot be read.
    Unreadable = 1013,
    /// There are too many files, or they are too large together.
    TooManyFiles = 1014,
    /// A file holds no document.
    EmptyFile = 1015,
    /// A symbolic link stands among the manifests.
    Symlink = 1016,

    // 10xx: the form of a document
    /// The apiVersion is missing or unknown.
    UnknownVersion = 1020,
    /// The kind is missing or unknown.
    UnknownKind = 1021,
    /// A required field is missing.
    MissingField = 1022,
    /// A value has the wrong type.
    WrongType = 1024,
    /// A boolean is not written `true` or `false`.
    LooseBoolean = 1025,
    /// A required field is null.
    NullRequired = 1026,
    /// A name is not a name.
    BadName = 1027,
    /// A value is outside its bounds.
    OutOfBounds = 1028,
    /// A word is none of those that may stand here.
    UnknownWord = 1029,
    /// An email address is not one.
    BadEmail = 1030,
    /// An amount of money is not one.
    BadMoney = 1031,
    /// A moment is not one.
    BadTime = 1032,
    /// A length of time is not one.
    BadDuration = 1033,
    /// A cron schedule is not one.
    BadSchedule = 1034,
    /// An address or a domain is not one.
    BadAddress = 1035,
    /// A permission or an event pattern is not one.
    BadPattern = 1036,
    /// The same item stands twice in a list.
    DuplicateItem = 1037,
    /// Something that looks like a secret stands in a manifest.
    PlainSecret = 1038,
    /// A field is unknown.
    UnknownField = 1042,

    // 11xx: what a set of documents means
    /// The same resource is declared in two places.
    DeclaredTwice = 1101,
    /// A reference names what does not exist.
    DanglingReference = 1102,
    /// A resource belongs to an organization that is not declared.
    UndeclaredOrganization = 1103,
    /// Teams are each other's parents.
    TeamCycle = 1104,
    /// A built-in role is declared.
    BuiltInRole = 1105,
    /// A child may use more than its parent.
    ChildAboveParent = 1106,
    /// A moment has passed.
    InThePast = 1107,
    /// A schedule never fires.
    NeverFires = 1108,
    /// A rotation cannot work.
    BadRotation = 1109,
    /// Something is declared and removed at once.
    RemovedYetDeclared = 1110,
    /// An organization has nobody who owns it.
    NoOwner = 1111,
    /// A role is of the wrong scope.
    WrongRoleScope = 1112,
    /// A previous name cannot be right.
    BadPreviousName = 1115,
    /// Fields do not fit together.
    FieldsDisagree = 1120,

    // 14xx: who signed what the source says
    /// A commit is not signed.
    Unsigned = 1401,
    /// A commit is signed by a key that no list has.
    UnknownSigner = 1402,
    /// A signature does not belong to its commit.
    ForgedSignature = 1403,
    /// A commit is signed with a key that has expired.
    SignerExpired = 1404,
    /// A commit is signed with a key that does not count yet.
    SignerNotYetValid = 1405,
    /// A commit is signed with a key that was revoked.
    SignerRevoked = 1406,
    /// A signature was made for something else.
    WrongNamespace = 1407,
    /// A signature proves nothing, because what it was made with is broken.
    WeakSignature = 1408,
    /// A signature cannot be read.
    GarbledSignature = 1409,
    /// A signature is of a sort that is not verified.
    UnsupportedSignature = 1410,
    /// A forge signed what is no merge.
    ForgeSigned = 1411,
    /// A list of signers is wrong.
    BadSigners = 1412,
    /// Signatures are asked for of what can have none.
    NothingSigned = 1413,

    // 17xx: repositories
    /// The address of a repository is none, or may not be read.
    BadRepository = 1701,
    /// A repository cannot be reached or is not there.
    RepositoryUnreachable = 1702,
    /// A repository does not let us in.
    RepositoryRefused = 1703,
    /// Nobody vouches for the host of a repository.
    HostNotTrusted = 1704,
    /// A repository sends us to another address.
    RepositoryMoved = 1705,
    /// There is no such branch, tag or commit.
    NoSuchRevision = 1706,
    /// A repository sends too much, or for too long.
    RepositoryTooLarge = 1707,
    /// Objects of a repository are broken or missing.
    RepositoryCorrupt = 1708,
    /// An entry of a tree has a name that leads elsewhere or cannot be shown.
    BadEntryName = 1711,
    /// Two entries of a tree are one and the same on many machines.
    NameTwice = 1712,
    /// A submodule stands among the manifests.
    Submodule = 1713,
    /// A manifest only points at its content.
    LfsPointer = 1714,
    /// A branch does not lead on from what was applied.
    Rewound = 1721,
    /// Something is gone and no commit removes it.
    Unexplained = 1722,
    /// A branch cannot be merged.
    MergeConflict = 1723,
    /// A clone holds only a part of the history.
    ShallowHistory = 1724,
    /// A branch changes what judges it.
    BranchRules = 1725,

    // 18xx: the audit
    /// A row of the audit is not the one that was sealed.
    AuditTampered = 1801,
    /// The audit is whole in itself, and signed heads tell that it was another one.
    AuditRewritten = 1802,
    /// A head, a checkpoint or a manifest does not count.
    HeadUntrusted = 1803,
    /// Something has to be signed, or verified, and there is no key for it.
    NoAuditKey = 1804,
    /// An export is not what its manifest says, or not to be read.
    ExportTampered = 1805,
    /// Rows could not be sealed, or heads not be signed.
    SealingFailed = 1806,
    /// The file of heads ended in the middle of a line.
    TornHeads = 1807,
    /// There is no such row in the audit.
    NoSuchAuditRow = 1808,

    // 20xx: what a plan found
    /// Another source owns the resource.
    OwnedElsewhere = 2001,
    /// A protected resource left its manifest.
    Protected = 2002,
    /// A delete and a create look like a rename.
    LooksLikeRename = 2003,
    /// The old and the new name of a rename both exist.
    RenameConflict = 2004,
    /// A declaration has done its work.
    DoneDeclaration = 2006,
    /// An organization is held, because a file that describes it cannot be read.
    HeldOrganization = 2007,
    /// A tier that is in use would go.
    TierInUse = 2009,
    /// A field that cannot change would change.
    FixedField = 2010,
    /// A field was left alone, because somebody else has changed it.
    KeptField = 2012,
    /// Rows stand beside the declared ones and are left alone.
    UnmanagedRows = 2013,
    /// A target matches nothing.
    NoSuchTarget = 2014,
    /// A rule takes something out of comparison.
    Ignored = 2015,
    /// Drift that cannot be adopted by a patch.
    DriftLeft = 2016,
    /// A branch takes back what is due without it.
    TakenBack = 2017,

    // 30xx: guards
    /// Too many members of an organization would go.
    MembersRemoved = 3001,
    /// Too many members of a team would go.
    TeamMembersRemoved = 3002,
    /// Too many administrators would go.
    AdminsRemoved = 3003,
    /// Too many roles would be taken away.
    GrantsRemoved = 3004,
    /// Too many keys would be revoked.
    KeysRevoked = 3005,
    /// Too many budgets would be cut.
    BudgetsCut = 3006,
    /// Too few owners would stay.
    TooFewOwners = 3007,
    /// Nobody would be left who could undo this.
    LastHuman = 3008,
    /// A source would empty itself.
    EmptySource = 3009,

    // 31xx: policies
    /// A policy denies the plan.
    PolicyDenied = 3101,
    /// A policy holds the plan until somebody approves.
    PolicyHeld = 3102,
    /// A policy warns.
    PolicyWarned = 3103,
    /// An exception excuses what a policy would deny.
    PolicyExcused = 3104,
    /// A rule gives no clean answer.
    PolicyUnclear = 3105,
    /// The policies could not be evaluated to the end.
    PolicyFailed = 3106,
    /// A policy cannot be loaded.
    BadPolicy = 3110,
    /// A policy calls what reaches outside.
    ForbiddenBuiltin = 3111,
    /// A policy refers to what the input document does not hold.
    UnknownInput = 3112,
    /// A policy has a flaw that does not keep it from judging.
    PolicyFlaw = 3113,
    /// The policies that judged a source before are gone.
    PoliciesGone = 3114,

    // 32xx: brakes
    /// The source only observes.
    Observing = 3201,
    /// No window is open.
    WindowClosed = 3202,
    /// The organization or its source is suspended.
    Suspended = 3203,
    /// The source still says what was rolled back.
    RolledBack = 3204,
    /// A run cannot be rolled back.
    CannotRollBack = 3205,
    /// What a rollback brings back is not the same row.
    ComesAnew = 3206,
    /// What it was judged by is not carried out.
    Waits = 3207,

    // 33xx: approvals
    /// An approval cannot be given.
    CannotApprove = 3301,
    /// Nobody of this name is known, or they cannot be verified.
    UnverifiedIdentity = 3302,
    /// No plan of this digest is held.
    NoSuchPlan = 3303,
    /// An approval was used, or has ended, before the plan was carried out.
    ApprovalGone = 3304,
    /// Who wrote what may be approved is not known.
    UnknownAuthors = 3305,

    // 40xx: applying
    /// A plan is stale.
    Stale = 4001,
    /// An organization could not be applied.
    ApplyFailed = 4002,
    /// Others write the organization all the time.
    Contended = 4003,
    /// Somebody else holds the lock.
    Locked = 4004,
    /// A file is no plan, or not the one that was saved.
    NotAPlan = 4005,
    /// A file is no snapshot, or not one of this source.
    NotASnapshot = 4006,
    /// A snapshot is too old.
    SnapshotTooOld = 4007,
    /// Nobody vouches for a snapshot.
    SnapshotUntrusted = 4008,
    /// A plan was made with a snapshot.
    FromSnapshot = 4009,
    /// An organization is not in the snapshot.
    BeyondSnapshot = 4010,

    // 19xx: events and where they go
    /// A sink does not take what it is given.
    CannotDeliver = 1901,
    /// A message does not reach a channel.
    CannotNotify = 1902,
    /// A template of messages cannot be read.
    BadTemplate = 1903,

    // 191x: clusters
    /// A cluster cannot be reached, or does not serve what is asked for.
    ClusterUnreachable = 1911,
    /// A cluster does not let us do what has to be done.
    ClusterRefused = 1912,
    /// A namespace is not bound to an organization that its objects name.
    NotBound = 1913,
    /// What is known of a cluster is older than what was known before, or not whole.
    ClusterBehind = 1914,

    // 192x: admission
    /// Nobody could tell what an object would lead to.
    NotLookedAt = 1920,
    /// An object is in a namespace that nobody follows.
    NotFollowed = 1921,

    // 41xx: the controller
    /// No controller is there, or none has answered in time.
    NobodyThere = 4101,
    /// A step of the controller takes too long.
    TookTooLong = 4102,

    // 50xx: the world around
    /// The database cannot be reached.
    NoDatabase = 5001,
    /// PostgreSQL is not installed.
    NoPostgres = 5002,
    /// The schema is newer than this Argus.
    SchemaNewer = 5003,
    /// The schema is older than this Argus.
    SchemaOlder = 5004,
    /// The settings are wrong.
    BadSettings = 5005,
    /// The settings of a source reach for what only the machine may set.
    ForbiddenSetting = 5006,
    /// An output cannot be written.
    CannotWrite = 5007,
}

impl Code {
    /// Whether it tells of a repository that cannot be read, or not trusted.
    pub fn is_of_repository(self) -> bool {
        matches!(self.number(), 1400..1500 | 1700..1800)
    }

    /// The number.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The code of this name (`ARG1042`, `arg1042` or `1042`).
    pub fn named(name: &str) -> Option<Code> {
        let digits = name.get(..3).filter(|head| head.eq_ignore_ascii_case("arg")).map_or(name, |_| &name[3..]);
        let number: u16 = digits.parse().ok()?;
        Code::ALL.iter().copied().find(|code| code.number() == number)
    }

    /// The first line of its page, without the code.
    pub fn title(self) -> &'static str {
        let heading = self.page().lines().next().unwrap_or_default();
        heading.split_once(": ").map_or(heading, |(_, title)| title)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ARG{}", self.number())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Code::named(&name).ok_or_else(|| serde::de::Error::custom(format!("unknown code `{name}`")))
    }
}

impl schemars::JsonSchema for Code {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Code".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^ARG[0-9]{4}$" })
    }
}
