//! Whoever wrote a commit approves nothing of it, whoever runs Argus.

use super::{CI, Court, staff};
use crate::support::git::Repository;

#[test]
fn nobody_approves_their_own_commit() {
    let court = Court::with("acme", 9);
    let repository = Repository { path: court.world.root.clone() };
    repository.git(&["init", "-q", "-b", "main"]);
    repository.commit("Begin");
    let apply = || court.as_role(CI, &["apply", "--ref", "main", "--auto-approve"]);
    apply().ends(0);
    court.write("acme.yaml", &staff("acme", 1));
    repository.git(&["add", "-A"]);
    let author = "--author=Grace <grace@acme.example>";
    repository.git(&["commit", "-q", "-m", "Let eight people go", author]);
    // That somebody else's commit came last changes nothing.
    repository.git(&["commit", "-q", "--allow-empty", "-m", "Nothing", "--author=Zoe <zoe@acme.example>"]);
    apply().ends(4).says("ARG3001");
    let digest = court.digest();
    court.approve("grace", &digest);
    apply().ends(4);
    court.approve("heidi", &digest).ends(0);
    apply().ends(0).says("8 destroyed");
}
