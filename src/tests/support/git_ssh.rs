//! A real `sshd` on loopback that lets one key fetch repositories and do nothing else.
//!
//! It runs as whoever runs the tests. As root it would rather run with less: it insists on its user (`sshd`, which the
//! package of the server makes) and on the empty folder `/run/sshd`, which the service makes when it starts and which is
//! made here if it is missing. Whoever runs it needs a shell and an account that is not locked, as for any login by key.

use std::io::Read as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::git::written;
use super::keys::Key;
use super::postgres::scratch;

/// How long the server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
pub struct GitSsh {
    child: Child,
    port: u16,
    host_key: Key,
    folder: PathBuf,
}

impl GitSsh {
    /// Lets the holder of this key (its public half) fetch what stands under a folder.
    pub fn start(authorized: &str) -> GitSsh {
        let folder = scratch("ssh");
        std::fs::create_dir_all(&folder).expect("a folder");
        if written(&Command::new("id").arg("-u").output().expect("id runs")) == "0" {
            std::fs::create_dir_all("/run/sshd").expect("the folder that sshd wants");
        }
        std::fs::write(folder.join("authorized_keys"), format!("{authorized}\n")).expect("a file");
        let path = std::env::var("PATH").expect("a PATH");
        let script = format!(
            "#!/bin/sh\nPATH='{path}'\nexport PATH\nGIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1\n\
             export GIT_CONFIG_GLOBAL GIT_CONFIG_NOSYSTEM\ncase \"$SSH_ORIGINAL_COMMAND\" in\n\
             \"git-upload-pack '\"*) exec git shell -c \"$SSH_ORIGINAL_COMMAND\" ;;\nesac\n\
             echo 'only git-upload-pack is allowed' >&2\nexit 1\n"
        );
        let command = folder.join("command");
        std::fs::write(&command, script).expect("a file");
        std::fs::set_permissions(&command, std::fs::Permissions::from_mode(0o755)).expect("it may run");
        let host_key = Key::new("ed25519");
        // A free port may be taken by somebody else before sshd has it.
        for _ in 0..5 {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let port = listener.local_addr().expect("an address").port();
            drop(listener);
            let mut child = spawn(&folder, &host_key, port);
            if answers(&mut child, port) {
                return GitSsh { child, port, host_key, folder };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        panic!("sshd does not start:\n{log}");
    }

    /// The address of a repository, by its path on this machine.
    pub fn url(&self, repository: &Path) -> String {
        let user = written(&Command::new("id").arg("-un").output().expect("id runs"));
        format!("ssh://{user}@127.0.0.1:{}{}", self.port, repository.display())
    }

    /// The line of `known_hosts` that is right.
    pub fn known_host(&self) -> String {
        self.known_host_with(&self.host_key.public)
    }

    /// The line that names another key.
    pub fn known_host_with(&self, public: &str) -> String {
        format!("[127.0.0.1]:{} {public}\n", self.port)
    }

    /// What the server has said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

fn spawn(folder: &Path, host_key: &Key, port: u16) -> Child {
    let at = |name: &str| folder.join(name).display().to_string();
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {}\nPidFile none\nUsePAM no\nStrictModes no\n\
         AuthorizedKeysFile {}\nPubkeyAuthentication yes\nPasswordAuthentication no\n\
         KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nDisableForwarding yes\nPermitTTY no\n\
         PermitUserRC no\nPermitUserEnvironment no\nAcceptEnv GIT_PROTOCOL\nForceCommand {}\nLogLevel VERBOSE\n",
        host_key.path().display(),
        at("authorized_keys"),
        at("command"),
    );
    std::fs::write(folder.join("config"), config).expect("a file");
    let log = std::fs::File::create(folder.join("log")).expect("a file");
    // It starts itself anew for each connection, and so wants to know where it stands.
    let program =
        ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"].into_iter().find(|path| Path::new(path).exists());
    let mut command = Command::new(program.expect("sshd is installed; .ci/install does it"));
    command.args(["-D", "-e", "-f", &at("config")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().expect("sshd starts")
}

/// Whether the server greets before it ends or the patience does.
fn answers(child: &mut Child, port: u16) -> bool {
    let from = Instant::now();
    while from.elapsed() < PATIENCE && child.try_wait().is_ok_and(|ended| ended.is_none()) {
        let mut greeting = [0; 4];
        let greeted =
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut stream| stream.read_exact(&mut greeting));
        if greeted.is_ok() && greeting == *b"SSH-" {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

impl Drop for GitSsh {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
